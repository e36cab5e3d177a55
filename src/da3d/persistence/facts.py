"""What a model file holds, without building the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from da3d.persistence.archive import ARRAYS, MANIFEST, read_arrays, unpack
from da3d.persistence.manifest import PipelineRecord

__all__ = ["inspect"]


def inspect(path: str | Path) -> dict[str, Any]:
    """Return what a model file holds; the model is not built, and neither torch nor scikit-learn is imported.

    The file is checked as by `load`, so that what is said about it is true.

    Parameters
    ----------
    path : path
        A file that `save` wrote.

    Returns
    -------
    dict
        Ready for JSON. Always ``path``, ``bytes``, ``format``, ``created`` (UTC), ``versions``, ``kind``,
        ``detector`` (its name), ``parameters``, ``seed``, ``offset``, ``features`` (of the detector),
        ``weights`` (numbers in the detector's arrays), ``history`` (number of records), ``last_losses``
        (phase to the values of its last record) and ``members`` (name to bytes); of a pipeline also
        ``columns`` (of the table), ``schema`` (name and kind of each column in use), ``ignored`` (column to
        reason), ``calibration_rows``, ``calibrate_by``, ``reference_rows`` (normal rows that the file holds),
        ``suppressed_patterns`` (benign rows that it holds), ``threshold`` and ``contamination``.

    Raises
    ------
    FileError
        The file does not exist or cannot be read.
    ModelFileError
        It is damaged, foreign, newer or tampered with.
    """
    manifest, members = unpack(path)
    detector = manifest.detector
    arrays = read_arrays(members.get(ARRAYS, b""), path)
    facts: dict[str, Any] = {
        "path": str(path),
        "bytes": Path(path).stat().st_size,
        "format": manifest.format,
        "created": manifest.created,
        "versions": manifest.versions,
        "kind": manifest.kind,
        "detector": detector.name,
        "parameters": detector.parameters,
        "seed": detector.seed,
        "offset": detector.offset,
        "features": detector.features,
        "weights": sum(array.size for name, array in arrays.items() if name.startswith("detector/")),
        "history": len(detector.history or ()),
        "last_losses": _last_losses(detector.history or []),
        "members": {MANIFEST: len(manifest.to_bytes())}
        | {name: m.bytes for name, m in manifest.members.items()},
    }
    if manifest.pipeline is None:
        return facts
    kept = {name: len(arrays.get(f"{name}/rows", ())) for name in ("reference", "suppression")}
    counts = {"reference_rows": kept["reference"], "suppressed_patterns": kept["suppression"]}
    return facts | _of_pipeline(manifest.pipeline) | counts


def _last_losses(history: list[dict[str, str | int | float]]) -> dict[str, dict[str, float]]:
    return {
        str(row["phase"]): {
            name: float(value) for name, value in row.items() if name not in ("phase", "step")
        }
        for row in history
    }


def _of_pipeline(pipeline: PipelineRecord) -> dict[str, Any]:
    return {
        "columns": pipeline.features,
        "schema": pipeline.encoder.get("schema"),
        "ignored": pipeline.encoder.get("ignored"),
        "calibration_rows": pipeline.calibration_rows,
        "calibrate_by": pipeline.parameters.calibrate_by,
        "threshold": pipeline.threshold.model_dump(),
        "contamination": pipeline.parameters.contamination,
    }
