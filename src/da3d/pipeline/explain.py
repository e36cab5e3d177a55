"""Why a row is strange: which columns make its score, beside the normal row that it is most like."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from da3d.detectors import EVIDENCE, Detector
from da3d.errors import ParameterError
from da3d.pipeline.attribute import Columns, Method, attribute
from da3d.pipeline.reference import Reference, plain_table
from da3d.pipeline.words import remark, usual_range
from da3d.preprocessing import TableEncoder

if TYPE_CHECKING:
    from da3d.pipeline.pipeline import AnomalyPipeline

__all__ = ["Contribution", "Evidence", "Explanation", "Similar", "explain"]

Floats = NDArray[np.float64]
Gaps = NDArray[np.bool_]
Values = tuple[Any, ...]

_NEAREST = 3
_GENERATED = 512
_SECOND = 0.5  # a column with so large a share of the first one's contribution is named beside it
_WORTH_A_WORD = 0.1  # with a smaller share of the largest contribution nothing is made of a usual value
_ORDINARY = 0.1  # a larger p-value needs no reason


@dataclass(frozen=True)
class Contribution:
    """What one column has to do with a row's score.

    Attributes
    ----------
    column : str
    value : float, bool, str or None
        The row's value, None if missing; a date as text, such as ``2024-01-31 16:06:02``.
    contribution : float
        In units of the score; positive raises it.
    usual : str
        What is usual in this column among normal rows, in words.
    sentence : str
        What is to be said about the value.
    """

    column: str
    value: float | bool | str | None
    contribution: float
    usual: str
    sentence: str


@dataclass(frozen=True)
class Evidence:
    """What one kind of evidence has to do with a row's score.

    Attributes
    ----------
    kind : str
        Its name in the detector's `score_parts`.
    meaning : str
        What it says of a row, in words.
    contribution : float
        In units of the score, beside the normal row; positive raises it.
    """

    kind: str
    meaning: str
    contribution: float


@dataclass(frozen=True)
class Similar:
    """Another row, beside the explained one.

    Attributes
    ----------
    values : dict of str to float, bool, str or None
        By column, as in `Contribution`. Of a generated row a date is its weekday and time of day.
    distance : float
        Mean over the columns of d / (d + t), where d is the distance in the column and t the median of those
        between different normal rows: 0 is an equal row, 1 one that is far off in every column.
    """

    values: dict[str, float | bool | str | None]
    distance: float


@dataclass(frozen=True)
class Explanation:
    """Why a row has its score.

    Attributes
    ----------
    row : hashable
        The row's label in the table's index.
    anomaly_score, p_value, severity, is_anomaly
        As in `AnomalyPipeline.verdicts`, under the rule in force.
    contributions : tuple of Contribution
        Of every column, the one that raises the score most first. They add up to `anomaly_score` minus
        `baseline_score`, but for `gap`.
    baseline_score : float
        Score of the first of the `nearest` rows, with which the row is compared.
    gap : float
        What the contributions leave unexplained: at most 1 % of the scores' difference.
    evidence : tuple of Evidence
        The same difference divided in another way, by kinds of evidence, the one that raises the score most
        first; empty if the detector's score has no parts, or only one.
    method : {"integrated gradients", "column paths"}
    nearest : tuple of Similar
        The most similar of the normal rows that the pipeline remembers, the nearest first.
    counterexample : Similar or None
        The most similar of 512 generated rows, if the detector has a generator.
    sentence : str
        The reason in one sentence.
    """

    row: Hashable
    anomaly_score: float
    p_value: float
    severity: float
    is_anomaly: bool
    contributions: tuple[Contribution, ...]
    baseline_score: float
    gap: float
    evidence: tuple[Evidence, ...]
    method: Method
    nearest: tuple[Similar, ...]
    counterexample: Similar | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation ready for JSON."""
        row = self.row.item() if isinstance(self.row, np.generic) else self.row
        label = row if isinstance(row, int | float | str) else str(row)
        return asdict(replace(self, row=label))


def explain(
    pipeline: AnomalyPipeline, frame: pd.DataFrame, *, top: int | None, rows: Sequence[int] | None
) -> list[Explanation]:
    """Explain rows of a table; see `AnomalyPipeline.explain`."""
    if not len(pipeline.reference_.rows):
        raise ParameterError(
            "the pipeline remembers no normal rows to compare with (reference_rows is 0); fit it with some."
        )
    verdicts = pipeline.verdicts(frame)
    chosen = _chosen(verdicts, top, rows)
    work = _Work(pipeline.encoder_, pipeline.detector_, pipeline.reference_)
    frame = frame.iloc[chosen][pipeline.encoder_.schema_.names]
    parts = zip(
        verdicts.iloc[chosen].itertuples(),
        plain_table(frame, pipeline.encoder_.schema_).itertuples(index=False, name=None),
        pipeline.encoder_.transform(frame).astype(np.float64),
        pipeline.encoder_.counted_gaps(frame),
        strict=True,
    )
    return [work.explanation(*part) for part in parts]


def _chosen(verdicts: pd.DataFrame, top: int | None, rows: Sequence[int] | None) -> NDArray[np.int64]:
    """Positions of the rows to explain."""
    total = len(verdicts)
    if top is not None and rows is not None:
        raise ParameterError("top and rows are both given; give one of the two.")
    if top is not None:
        if isinstance(top, bool) or int(top) != top or top < 1:
            raise ParameterError(f"top is {top} but must be a whole number >= 1.")
        order = np.lexsort((-verdicts["anomaly_score"].to_numpy(), verdicts["p_value"].to_numpy()))
        return order[: int(top)]
    positions = np.arange(total) if rows is None else np.asarray(rows)
    if positions.ndim != 1 or positions.dtype.kind not in "iu":
        raise ParameterError(
            f"rows is {rows!r} but must be a list of positions, at least one, counted from 0."
        )
    outside = positions[(positions < 0) | (positions >= total)]
    if len(outside):
        raise ParameterError(
            f"rows has row {outside[0]}, but the table has {total} rows; they count from 0 to {total - 1}."
        )
    return positions


class _Work:
    """What all explanations by one pipeline share."""

    def __init__(self, encoder: TableEncoder, detector: Detector, reference: Reference) -> None:
        self.encoder, self.detector, self.reference = encoder, detector, reference
        self.owners = encoder.feature_columns_
        self.normal = encoder.transform(reference.rows).astype(np.float64)
        self.normal_gaps = encoder.counted_gaps(reference.rows)
        self.normal_scores = detector.anomaly_score(self.normal)
        self.typical = np.array(
            [_typical(self.normal[:, self.owners == i]) for i in range(len(reference.usual))]
        )
        generate = getattr(detector, "generated_rows", None)
        made = None if generate is None else generate(_GENERATED)
        self.generated = np.zeros((0, len(self.owners))) if made is None else np.asarray(made)

    def explanation(self, verdict: Any, values: Values, row: Floats, gaps: Gaps) -> Explanation:
        """The explanation of one row: its verdict, plain values, features and counted gaps."""
        distances = self.distances(row, self.normal)
        order = np.argsort(distances, kind="stable")[:_NEAREST]
        baseline = order[0]
        added = gaps.astype(np.float64) - self.normal_gaps[baseline]
        found = attribute(self.detector, Columns(self.normal[baseline], row, self.owners, added))
        contributions = _ranked(self.reference, values, found.contributions)
        return Explanation(
            row=verdict.Index,
            anomaly_score=verdict.anomaly_score,
            p_value=verdict.p_value,
            severity=verdict.severity,
            is_anomaly=verdict.is_anomaly,
            contributions=contributions,
            baseline_score=float(self.normal_scores[baseline]),
            gap=found.gap,
            evidence=self.evidence(self.normal[baseline], row),
            method=found.method,
            nearest=tuple(self.similar(place, distances[place]) for place in order),
            counterexample=self.counterexample(row),
            sentence=_sentence(verdict.p_value, contributions),
        )

    def distances(self, row: Floats, others: Floats) -> Floats:
        """Distance of a row to others, shape (others,), in which no column counts more than one.

        Were it Euclidean, a value that is far off would decide alone which rows are near.
        """
        apart = [
            np.linalg.norm(others[:, self.owners == i] - row[self.owners == i], axis=1) / typical
            for i, typical in enumerate(self.typical)
        ]
        return np.asarray(np.mean([each / (1 + each) for each in apart], axis=0))

    def evidence(self, normal: Floats, row: Floats) -> tuple[Evidence, ...]:
        """By how much more each kind of evidence speaks against a row than against a normal one."""
        parts_of = getattr(self.detector, "score_parts", None)
        if parts_of is None:
            return ()
        parts = {kind: part.astype(np.float64) for kind, part in parts_of(np.stack([normal, row])).items()}
        found = [
            Evidence(kind, EVIDENCE[kind], float(part[1] - part[0]))
            for kind, part in parts.items()
            if part.any()
        ]
        return tuple(sorted(found, key=lambda each: -each.contribution)) if len(found) > 1 else ()

    def similar(self, place: int, distance: float) -> Similar:
        """A remembered normal row."""
        values = self.reference.rows.iloc[place].to_dict()
        return Similar({str(name): _portable(value) for name, value in values.items()}, float(distance))

    def counterexample(self, row: Floats) -> Similar | None:
        """The nearest generated row."""
        if not len(self.generated):
            return None
        distances = self.distances(row, self.generated)
        nearest = int(np.argmin(distances))
        values = self.encoder.inverse_transform(self.generated[[nearest]]).iloc[0].to_dict()
        return Similar(
            {str(name): _portable(value) for name, value in values.items()}, float(distances[nearest])
        )


def _typical(features: Floats) -> float:
    """Median distance of two different rows in the features of one column; 1 if all are equal."""
    apart = pdist(features) if features.shape[1] else np.zeros(0)
    different = apart[apart > 0]
    return float(np.median(different)) if len(different) else 1.0


def _ranked(reference: Reference, values: Values, sizes: Floats) -> tuple[Contribution, ...]:
    """What each column contributes, the most first."""
    most = sizes.max()
    found = [
        Contribution(
            usual.name,
            _portable(value),
            size,
            usual_range(usual),
            remark(usual, value, raises=size > 0 and size >= _WORTH_A_WORD * most),
        )
        for usual, value, size in zip(reference.usual.values(), values, sizes.tolist(), strict=True)
    ]
    return tuple(sorted(found, key=lambda each: -each.contribution))


def _portable(value: Any) -> float | bool | str | None:
    """A value of a plain table as JSON has it."""
    if value is None or value is pd.NaT or value != value:
        return None
    return value if isinstance(value, float | bool | str) else str(value)


def _sentence(p_value: float, contributions: tuple[Contribution, ...]) -> str:
    """The first column's remark, and the second's if it has nearly as much to do with the score."""
    first, *rest = contributions
    if p_value > _ORDINARY or first.contribution <= 0:
        return f"Nothing here is out of the ordinary: {100 * p_value:.2g} % of normal rows are as strange."
    second = [each for each in rest[:1] if each.contribution >= _SECOND * first.contribution]
    return "; ".join(each.sentence for each in [first, *second]) + "."
