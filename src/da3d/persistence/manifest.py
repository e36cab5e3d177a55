"""What `manifest.json` says: pydantic models that refuse every key and every type that they do not know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from da3d.errors import ModelFileError, ParameterError

__all__ = [
    "FORMAT",
    "DetectorRecord",
    "Manifest",
    "Member",
    "Parameters",
    "PipelineRecord",
    "ReferenceRecord",
    "Rule",
    "SuppressionRecord",
    "Template",
    "UsualRecord",
    "plain",
]

FORMAT: Final = 1
"""Number of the file format; rises whenever an older da3d could not read a file correctly."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Member(_Strict):
    """Size and digest of another file of the archive."""

    bytes: int
    sha256: str


class Template(_Strict):
    """A detector before it is fitted: its name in `detectors.DETECTORS` and its constructor's arguments."""

    name: str
    parameters: dict[str, JsonValue]


class DetectorRecord(Template):
    """A fitted detector but for its arrays and scikit-learn objects.

    Attributes
    ----------
    seed, offset, features, feature_names
        `seed_`, `offset_`, `n_features_in_` and `feature_names_in_`.
    image_shape : list of three ints, or None
        `image_shape_`.
    history : list of dict or None
        Rows of `history_`, if the detector has one.
    transposed : list of str
        Arrays that lie in memory column by column and are stored transposed: the order decides the last bit
        of some products.
    """

    seed: int
    offset: float
    features: int
    feature_names: list[str] | None
    image_shape: Annotated[list[int], Field(min_length=3, max_length=3)] | None
    history: list[dict[str, str | int | float]] | None
    transposed: list[str]


class Rule(_Strict):
    """A `pipeline.Threshold`."""

    rule: str
    value: int | float


class Parameters(_Strict):
    """The constructor's arguments of an `AnomalyPipeline`; `encoder` holds those of its encoder."""

    detector: Template | None
    quality: str | None
    encoder: dict[str, JsonValue] | None
    threshold: Rule | None
    contamination: float
    calibrate_by: str | None
    reference_rows: int
    random_state: int | None


class UsualRecord(_Strict):
    """A `pipeline.reference.Usual`."""

    name: str
    kind: Literal["number", "boolean", "category", "date"]
    missing: float
    low: float | None
    high: float | None
    least: float | None
    most: float | None
    shares: dict[str, float]


class ReferenceRecord(_Strict):
    """The JSON half of `pipeline.Reference.state`."""

    usual: list[UsualRecord]
    texts: dict[str, list[str]]


class SuppressionRecord(_Strict):
    """The JSON half of `pipeline.Suppression.state`."""

    radius: float
    texts: dict[str, list[str]]


class PipelineRecord(_Strict):
    """A fitted `AnomalyPipeline` but for its detector, transformer and calibration scores.

    Attributes
    ----------
    parameters : Parameters
    encoder : dict
        The JSON half of `TableEncoder.state`, with the table's schema.
    features, feature_names
        `n_features_in_` and `feature_names_in_`.
    threshold : Rule
        The rule in force when the file was written; `parameters` says whether it was chosen.
    calibration_rows : int
        How many held-out scores `arrays.safetensors` holds.
    calibration_groups : list of str
        The groups that have a calibration of their own, in the order of their arrays.
    reference : ReferenceRecord
        What is usual in each column; the remembered rows are an array.
    profile_rows : int
        How many normal rows `pipeline.Profile` describes; the distributions are arrays.
    suppression : SuppressionRecord
        What counts as the same benign pattern; the benign rows are an array.
    """

    parameters: Parameters
    encoder: dict[str, JsonValue]
    features: int
    feature_names: list[str] | None
    threshold: Rule
    calibration_rows: int
    calibration_groups: list[str]
    reference: ReferenceRecord
    profile_rows: int
    suppression: SuppressionRecord


class Manifest(_Strict):
    """Everything about a model that is text or a single number.

    Attributes
    ----------
    format : int
        `FORMAT`.
    library : str
        "da3d".
    created : str
        UTC, to the second.
    versions : dict of str to str
        da3d, numpy, scikit-learn, skops and torch when the file was written.
    kind : {"pipeline", "detector"}
    detector : DetectorRecord
    pipeline : PipelineRecord or None
    members : dict of str to Member
        Every other file of the archive, in their order.
    """

    format: Literal[1]
    library: Literal["da3d"]
    created: str
    versions: dict[str, str]
    kind: Literal["pipeline", "detector"]
    detector: DetectorRecord
    pipeline: PipelineRecord | None
    members: dict[str, Member]

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        if (self.kind == "pipeline") != (self.pipeline is not None):
            raise ValueError(f"kind is {self.kind} but the pipeline's part says otherwise")
        return self

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON, the same bytes for the same content."""
        return json.dumps(self.model_dump(), indent=1).encode("ascii")

    @classmethod
    def from_bytes(cls, content: bytes, path: str | Path) -> Self:
        """Return the manifest that `to_bytes` wrote.

        Raises
        ------
        ModelFileError
            It is foreign, newer, or not exactly what `to_bytes` writes; the sentence names `path`.
        """
        try:
            entries = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ModelFileError(
                f"'{path}' is not a model file: its manifest is not JSON ({error})."
            ) from error
        if not isinstance(entries, dict) or entries.get("library") != "da3d":
            raise ModelFileError(f"'{path}' is not a model file of da3d; give a file that da3d.save wrote.")
        number = entries.get("format")
        if isinstance(number, int) and number > FORMAT:
            raise ModelFileError(
                f"'{path}' was written by a newer da3d (format {number}; this one reads up to {FORMAT}); "
                "upgrade da3d."
            )
        try:
            return cls.model_validate(entries)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise ModelFileError(
                f"'{path}' is not a model file that da3d writes: its manifest is wrong at {where} "
                f"({first['msg'].lower()}); save the model again."
            ) from error


def plain(name: str, value: object) -> JsonValue:
    """Return a value as JSON: numpy's scalars become Python's, tuples and arrays lists, paths text.

    Raises
    ------
    ParameterError
        The value is of another type; the sentence calls it `name`.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(name, value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(f"{name}[{key!r}]", item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(name, item) for item in value]
    raise ParameterError(
        f"{name} is a {type(value).__name__}, which a model file cannot hold; "
        "give numbers, text or lists of them."
    )
