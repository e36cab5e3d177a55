"""Models of this library as models of MLflow: saved, logged to a run, loaded, and scored as a pyfunc.

What MLflow stores is the model file of `da3d.save`, so nothing is pickled and loading runs no code of the
file. The functions have the names that every MLflow flavour has::

    info = da3d.mlflow.log_model(pipeline, name="flows")
    verdicts = mlflow.pyfunc.load_model(info.model_uri).predict(table, params={"fpr": 0.001})

Needs MLflow: ``pip install "da3d[mlflow]"``; the small `mlflow-skinny` is enough.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from da3d import __version__, persistence
from da3d.detectors import Detector
from da3d.errors import ExtraError, FileError, ModelFileError, ParameterError, SchemaError
from da3d.pipeline import AnomalyPipeline
from da3d.preprocessing.text import TYPES, parse
from da3d.preprocessing.write import unwritable

try:
    import mlflow.artifacts
    import yaml
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.models.model import MLMODEL_FILE_NAME
    from mlflow.models.utils import _save_example
    from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.utils.environment import (
        _CONDA_ENV_FILE_NAME,
        _CONSTRAINTS_FILE_NAME,
        _PYTHON_ENV_FILE_NAME,
        _REQUIREMENTS_FILE_NAME,
        _process_pip_requirements,
        _PythonEnv,
    )
except ImportError as error:
    raise ExtraError(
        'da3d.mlflow needs MLflow, which is not installed; pip install "da3d[mlflow]".'
    ) from error

__all__ = [
    "FLAVOR_NAME",
    "get_default_pip_requirements",
    "load_model",
    "log_model",
    "save_model",
    "signature_of",
]

FLAVOR_NAME = "da3d"

_FILE = "model.da3d"
_PINNED = ("torch", "numpy", "scikit-learn", "pandas", "pyarrow", "safetensors", "skops")
_RULES = {"fpr": DataType.double, "budget": DataType.double, "top": DataType.long, "fdr": DataType.double}


def get_default_pip_requirements() -> list[str]:
    """da3d and what its scores depend on, in the versions that are installed here."""
    # A local version such as 2.9.0+cpu names a build that the package index does not have.
    pinned = [f"{name}=={version(name).partition('+')[0]}" for name in _PINNED]
    return [f"da3d=={__version__}", *pinned]


def signature_of(model: AnomalyPipeline | Detector) -> ModelSignature:
    """What a model takes and gives, as MLflow describes it.

    Parameters
    ----------
    model : AnomalyPipeline or Detector
        Fitted.

    Returns
    -------
    ModelSignature
        The columns' names, with any type: MLflow's own types would refuse what the model takes, such as
        whole numbers in a column of numbers, or dates with a time zone; the model checks what they hold. A
        matrix of float64 for a model that learned from an array. As parameters of a pipeline the rules of
        `Threshold`.
    """
    flags = [ColSpec(DataType.boolean, "is_anomaly")]
    if isinstance(model, Detector):
        return ModelSignature(_inputs(model), Schema([ColSpec(DataType.double, "anomaly_score"), *flags]))
    numbers = [ColSpec(DataType.double, name) for name in ("anomaly_score", "p_value", "severity")]
    if len(model.suppression_.rows):
        flags.append(ColSpec(DataType.boolean, "suppressed"))
    rules = ParamSchema([ParamSpec(name, kind, None) for name, kind in _RULES.items()])
    return ModelSignature(_inputs(model), Schema([*numbers, *flags]), rules)


def _inputs(model: AnomalyPipeline | Detector) -> Schema:
    if isinstance(model, AnomalyPipeline):
        names, kinds = model.encoder_.schema_.names, set(model.encoder_.schema_.kinds.values())
    else:
        names, kinds = list(getattr(model, "feature_names_in_", [])), {"number"}
    if not hasattr(model, "feature_names_in_") and kinds == {"number"}:
        return Schema([TensorSpec(np.dtype(np.float64), (-1, model.n_features_in_))])
    return Schema([ColSpec(AnyType(), name) for name in names])


def save_model(
    model: AnomalyPipeline | Detector,
    path: str | Path,
    *,
    mlflow_model: Model | None = None,
    signature: ModelSignature | None = None,
    input_example: Any = None,
    pip_requirements: Sequence[str] | str | None = None,
    extra_pip_requirements: Sequence[str] | str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted model as an MLflow model.

    Parameters
    ----------
    model : AnomalyPipeline or Detector
        Fitted; the detector is one of `detectors.DETECTORS`.
    path : path
        A folder that is empty or does not exist yet.
    mlflow_model : Model, optional
        The MLflow model that this flavour is added to.
    signature : ModelSignature, optional
        `signature_of` the model if left out.
    input_example : table, optional
        A few rows, kept beside the model as an example. They may be read by whoever reads the model.
    pip_requirements : sequence of str or path, optional
        What is installed to serve the model, instead of `get_default_pip_requirements`.
    extra_pip_requirements : sequence of str or path, optional
        The same, in addition to it.
    metadata : dict, optional
        Facts of your own that MLflow keeps with the model.

    Raises
    ------
    ParameterError
        `model` is something else, or cannot be kept in a model file.
    InputError
        `model` is not fitted.
    FileError
        `path` is a file or a folder that is not empty, or cannot be written.
    """
    folder = Path(path)
    _check(model)
    _make(folder)
    described = Model() if mlflow_model is None else mlflow_model
    persistence.save(model, folder / _FILE)
    described.signature = signature_of(model) if signature is None else signature
    if input_example is not None:
        _save_example(described, input_example, str(folder))
    if metadata is not None:
        described.metadata = dict(metadata)
    pyfunc.add_to_model(
        described,
        loader_module=__name__,
        data=_FILE,
        conda_env=_CONDA_ENV_FILE_NAME,
        python_env=_PYTHON_ENV_FILE_NAME,
    )
    described.add_flavor(FLAVOR_NAME, data=_FILE, da3d_version=__version__, **_facts(model))
    described.model_size_bytes = (folder / _FILE).stat().st_size
    described.save(str(folder / MLMODEL_FILE_NAME))
    _write_environment(folder, pip_requirements, extra_pip_requirements)


def log_model(
    model: AnomalyPipeline | Detector, name: str, *, registered_model_name: str | None = None, **options: Any
) -> Any:
    """Log a fitted model to the active run of MLflow, or to a new one.

    Parameters
    ----------
    model : AnomalyPipeline or Detector
        Fitted.
    name : str
        The model's name in MLflow.
    registered_model_name : str, optional
        Also make a version of this registered model.
    **options
        Those of `save_model`, and those of ``mlflow.models.Model.log``, such as ``params``, ``tags`` and
        ``step``.

    Returns
    -------
    mlflow.models.model.ModelInfo
        Its `model_uri` loads the model.

    Raises
    ------
    ParameterError, InputError
        As in `save_model`.
    """
    _check(model)
    return Model.log(
        artifact_path=None,
        name=name,
        flavor=sys.modules[__name__],
        flavor_name=FLAVOR_NAME,
        registered_model_name=registered_model_name,
        model=model,
        **options,
    )


def load_model(model_uri: str, dst_path: str | Path | None = None) -> AnomalyPipeline | Detector:
    """Load the pipeline or detector itself, not its pyfunc.

    Parameters
    ----------
    model_uri : str
        Such as ``models:/flows/3``, ``runs:/RUN/flows`` or a folder.
    dst_path : path, optional
        Folder to which the model is downloaded; a temporary one if left out.

    Raises
    ------
    ModelFileError
        The model is of another flavour; or its file is damaged, foreign, newer or tampered with.
    """
    target = None if dst_path is None else str(dst_path)
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=target))
    flavours = Model.load(str(folder)).flavors
    if FLAVOR_NAME not in flavours:
        raise ModelFileError(
            f"'{model_uri}' is no model of da3d: its flavours are {', '.join(sorted(flavours))}; load it "
            "with one of those."
        )
    return persistence.load(folder / flavours[FLAVOR_NAME]["data"])


def _load_pyfunc(path: str) -> _Verdicts:
    """What `mlflow.pyfunc.load_model` calls with the path of the model file."""
    return _Verdicts(persistence.load(path))


class _Verdicts:
    """A model with the one method that MLflow calls."""

    def __init__(self, model: AnomalyPipeline | Detector) -> None:
        self._model = model

    def get_raw_model(self) -> AnomalyPipeline | Detector:
        """What `unwrap_python_model` and the like give back."""
        return self._model

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """The verdicts on rows, in a pandas frame.

        A pipeline's are those of `AnomalyPipeline.verdicts`, with `params` as its rule (``fpr``, ``budget``,
        ``top`` or ``fdr``). A detector gives `anomaly_score` and, by its `offset_`, `is_anomaly`.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        if isinstance(self._model, Detector):
            return _flagged(self._model, data, given)
        if unknown := sorted(set(given) - set(_RULES)):
            raise ParameterError(
                f"params has {', '.join(unknown)}, but a rule is one of {', '.join(_RULES)}; leave out the "
                "others."
            )
        frame: pd.DataFrame = self._model.verdicts(_with_dates(data, self._model), **given)
        return frame


def _flagged(detector: Detector, data: Any, given: Mapping[str, Any]) -> pd.DataFrame:
    if given:
        raise ParameterError(
            f"params has {', '.join(sorted(given))}, but this model is a detector, whose threshold was fixed "
            "by its contamination; log an AnomalyPipeline to choose a rule."
        )
    scores = detector.anomaly_score(data)
    index = data.index if isinstance(data, pd.DataFrame) else None
    return pd.DataFrame({"anomaly_score": scores, "is_anomaly": -scores < detector.offset_}, index=index)


def _with_dates(data: Any, pipeline: AnomalyPipeline) -> Any:
    """The rows with dates where they came as text, as they do in JSON."""
    if not isinstance(data, pd.DataFrame):
        return data
    dates = [name for name, kind in pipeline.encoder_.schema_.kinds.items() if kind == "date"]
    return data.assign(**{name: _dates(data[name]) for name in dates if _is_text(data, name)})


def _is_text(data: pd.DataFrame, name: str) -> bool:
    return name in data and pd.api.types.infer_dtype(data[name], skipna=True) == "string"


def _dates(column: pd.Series[Any]) -> pd.Series[Any]:
    cells = pa.chunked_array([pa.array(column, pa.string(), from_pandas=True)])
    try:
        dates = parse(cells, TYPES["date"])
    except pa.ArrowInvalid as error:
        raise SchemaError(
            f"column '{column.name}' holds text that is no date, but it was a date at fit; write dates as "
            "2024-05-01 or 2024-05-01T13:37:00."
        ) from error
    return pd.Series(dates.to_pandas().to_numpy(), index=column.index)


def _check(model: object) -> None:
    if not isinstance(model, AnomalyPipeline | Detector):
        raise ParameterError(
            f"model is a {type(model).__name__} but must be a fitted AnomalyPipeline or a fitted detector."
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    if any(folder.iterdir()):
        raise FileError(f"'{folder}' is not empty; give a folder that is empty or does not exist yet.")


def _facts(model: AnomalyPipeline | Detector) -> dict[str, Any]:
    """What is worth reading in the file MLmodel."""
    if isinstance(model, Detector):
        return {"detector": type(model).__name__}
    return {"detector": type(model.detector_).__name__, "columns": dict(model.encoder_.schema_.kinds)}


def _write_environment(
    folder: Path,
    requirements: Sequence[str] | str | None,
    extra: Sequence[str] | str | None,
) -> None:
    conda, pinned, constraints = _process_pip_requirements(
        get_default_pip_requirements(), requirements, extra
    )
    (folder / _CONDA_ENV_FILE_NAME).write_text(yaml.safe_dump(conda, default_flow_style=False))
    if constraints:
        (folder / _CONSTRAINTS_FILE_NAME).write_text("\n".join(constraints))
    (folder / _REQUIREMENTS_FILE_NAME).write_text("\n".join(pinned))
    _PythonEnv.current().to_yaml(str(folder / _PYTHON_ENV_FILE_NAME))
