"""Scoring with an ONNX file: neither torch nor scikit-learn nor scipy is imported.

The graph has all the numbers; what is left to do here is what `AnomalyPipeline` does around its encoder: look
at the table, check its columns, and judge the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from da3d.errors import ExtraError, FileError, ModelFileError, ParameterError, TableError
from da3d.persistence.onnx.facts import decoded, read_facts
from da3d.pipeline.calibrate import Calibration
from da3d.pipeline.thresholds import Threshold
from da3d.preprocessing.frames import collected, like, to_frame
from da3d.preprocessing.schema import Column, Kind, Schema
from da3d.preprocessing.values import numbers, seconds, texts

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["OnnxModel", "load"]


class OnnxModel:
    """A pipeline that was exported: scores, p-values and verdicts, nothing else.

    Parameters
    ----------
    content : bytes or path
        The ONNX model itself, or its file.
    facts : mapping
        What it says about itself (`facts.read_facts`).
    threads : int
        CPU threads, >= 1.

    Attributes
    ----------
    schema : Schema
        The columns that it wants.
    columns : list of str
        All columns of the fitted table, those that were left out included.
    calibration : Calibration
    rule : Threshold
        The threshold in force; assign another at any time.
    """

    def __init__(self, content: bytes | str | Path, facts: Mapping[str, Any], *, threads: int = 1) -> None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise ParameterError(f"threads is {threads!r} but must be a whole number of at least 1.")
        self._session = _session(content, threads)
        self._inputs = list(facts["inputs"])
        self._rows_per_pass = int(facts["rows_per_pass"])
        self._named, self._ignored = bool(facts["named"]), dict(facts["ignored"])
        self.columns = [str(name) for name in facts["columns"]]
        self.schema = Schema(tuple(Column(each["column"], each["kind"]) for each in self._inputs))
        self.calibration = Calibration(decoded(facts["calibration"]))
        self.rule = Threshold(**facts["threshold"])

    @property
    def kinds(self) -> dict[str, Kind]:
        """Each wanted column's kind by its name: what `stream_table` takes as ``kinds``."""
        return self.schema.kinds

    def anomaly_score(self, X: Any) -> NDArray[np.float64]:
        """Strangeness of each row, shape (rows,): higher is stranger, without bounds.

        Raises
        ------
        SchemaError
            A column is missing or of another kind than at fit.
        TableError
            The table is empty or is none.
        """
        return self._scores(self._checked(X))

    def p_value(self, X: Any) -> NDArray[np.float64]:
        """Share of normal rows that are at least as strange, shape (rows,), in (0, 1]."""
        return self.calibration.p_values(self.anomaly_score(X))

    def verdicts(
        self,
        X: Any,
        *,
        fpr: float | None = None,
        budget: float | None = None,
        top: int | None = None,
        fdr: float | None = None,
    ) -> Any:
        """Judge every row of a table, as `AnomalyPipeline.verdicts` does.

        Parameters
        ----------
        X : table of shape (rows, columns)
        fpr, budget, top, fdr : float, optional
            At most one, as in `Threshold`; the rule in force if there is none.

        Returns
        -------
        table
            Of the same kind as `X`, with the columns `anomaly_score`, `p_value`, `severity` and `is_anomaly`.
        """
        threshold = Threshold.of(fpr=fpr, budget=budget, top=top, fdr=fdr)
        table = collected(X)
        frame = self._checked(table)
        return like(self.judge(self._scores(frame), threshold, frame.index), table)

    def groups(self, X: Any) -> None:
        """None: no file is written of a pipeline that is calibrated by groups."""

    def benign(self, X: Any) -> None:
        """None: no file is written of a pipeline where benign rows were suppressed."""

    def judge(
        self,
        scores: NDArray[np.float64],
        threshold: Threshold | None = None,
        index: pd.Index | None = None,
        groups: NDArray[np.object_] | None = None,
        benign: NDArray[np.bool_] | None = None,
    ) -> pd.DataFrame:
        """The verdicts that belong to scores of this model, which has neither groups nor benign rows."""
        p_values = self.calibration.p_values(scores)
        columns = {
            "anomaly_score": scores,
            "p_value": p_values,
            "severity": self.calibration.severity(p_values),
            "is_anomaly": (threshold or self.rule).flags(scores, self.calibration),
        }
        return pd.DataFrame(columns, index=index)

    def _checked(self, X: Any) -> pd.DataFrame:
        frame = to_frame(X)
        width = frame.shape[1]
        if not self._named and width != len(self.columns):
            raise TableError(
                f"X has {width} features, but this model is expecting {len(self.columns)} features as input."
            )
        return self.schema.align(frame, ignored=self._ignored)

    def _scores(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        scores = np.empty(len(frame))
        for start in range(0, len(frame), _CHUNK):
            rows = frame.iloc[start : start + _CHUNK]
            values = {each["name"]: _values(rows[each["column"]], each) for each in self._inputs}
            for first in range(0, len(rows), self._rows_per_pass):
                part = slice(first, first + self._rows_per_pass)
                fed = {name: column[part] for name, column in values.items()}
                (found,) = self._session.run(["anomaly_score"], fed)
                scores[start + first : start + first + len(found)] = found
        return scores


_CHUNK = 65_536  # rows whose columns are held beside the table


def load(path: str | Path, *, threads: int = 1) -> OnnxModel:
    """Read the file that `export` wrote.

    Parameters
    ----------
    path : path
    threads : int
        CPU threads for scoring, >= 1.

    Raises
    ------
    FileError
        The file does not exist or cannot be read.
    ModelFileError
        It is not an ONNX model of this library, damaged or newer.
    ExtraError
        ONNX Runtime is not installed.
    """
    facts = read_facts(path)
    try:
        return OnnxModel(path, facts, threads=threads)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ParameterError | FileError | ExtraError):
            raise
        raise ModelFileError(
            f"'{path}' is damaged: its metadata does not describe a model; export the model again."
        ) from error


def _session(content: bytes | str | Path, threads: int) -> InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        raise ExtraError(
            "scoring with an ONNX file needs ONNX Runtime, which is not installed; pip install 'da3d[onnx]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    given = content if isinstance(content, bytes) else str(content)
    try:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no class
        said = str(error).strip().splitlines()[0]
        raise ModelFileError(
            f"the ONNX model cannot be run ({said}); export it again, or install a newer onnxruntime."
        ) from error


def _values(series: pd.Series[Any], wanted: Mapping[str, Any]) -> NDArray[Any]:
    """A column as the graph takes it, shape (rows, 1)."""
    if wanted["kind"] == "category":
        known = texts(series)
        out = known.to_numpy(zero_copy_only=False)
        out[out == wanted["missing"]] = wanted["unseen"]
        out[known.is_null().to_numpy(zero_copy_only=False)] = wanted["missing"]
        return np.asarray(out, dtype=object)[:, None]
    if wanted["kind"] == "date":
        instants, missing = seconds(series)
        return np.where(missing, np.nan, instants.astype(np.float64))[:, None]
    return numbers(series)[:, None]
