"""Pictures of scores, codes and training, for paper and screen.

Every function returns a matplotlib `Figure` of its own; pyplot and its global state are not used.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from matplotlib.figure import Figure

from da3d.errors import FileError, ParameterError
from da3d.reports.drawing import Codes, draw_codes, draw_histogram, draw_roc, project_codes
from da3d.reports.timeline import draw_history

__all__ = [
    "code_plane",
    "history_figure",
    "project_codes",
    "roc_curve_figure",
    "save_figure",
    "score_histogram",
    "summary_figure",
]


def roc_curve_figure(labels: npt.ArrayLike, scores: Mapping[str, npt.ArrayLike]) -> Figure:
    """Recall against false-positive rate, one curve per detector, with the area under each.

    Parameters
    ----------
    labels : array_like, shape (rows,)
        1 = anomaly, 0 = normal.
    scores : mapping of str to array_like, shape (rows,)
        Scores by the detector's name; the first one is drawn boldest.

    Raises
    ------
    LabelError, InputError
        As in `da3d.metrics.roc_auc`; also when there are no scores.
    """
    figure = _figure(4.8, 4.8)
    draw_roc(figure.add_subplot(), labels, scores)
    return figure


def score_histogram(
    labels: npt.ArrayLike, scores: npt.ArrayLike, threshold: float | None = None, name: str = "score"
) -> Figure:
    """Scores of normal rows and of anomalies, each as shares of its own kind.

    The axis covers the bulk of the scores; rows beyond it are counted in its end bins, and the picture says
    how many.

    Parameters
    ----------
    labels : array_like, shape (rows,)
        1 = anomaly, 0 = normal.
    scores : array_like, shape (rows,)
        Higher = stranger.
    threshold : float or None
        Where verdicts change, in units of the score; drawn as a line.
    name : str
        What the horizontal axis is called.

    Raises
    ------
    LabelError, InputError
        As in `da3d.metrics.roc_auc`.
    """
    figure = _figure(5.4, 4.8)
    draw_histogram(figure.add_subplot(), labels, scores, threshold, name)
    return figure


def code_plane(codes: Codes) -> Figure:
    """Codes of normal rows, of generated counterexamples and of anomalies, as in Figure 5 of the DA3D paper.

    Circles show one, two and three standard deviations of the prior N(0, I).

    Parameters
    ----------
    codes : mapping of str to array, shape (points, width)
        The kinds ``normal``, ``generated`` and ``anomaly`` have colours of their own; others are welcome.
        Codes wider than 2 are shown as by `project_codes`; at most 2000 points of a kind are drawn.

    Raises
    ------
    InputError
        There are no codes, or their widths differ.
    """
    figure = _figure(5.0, 4.8)
    draw_codes(figure.add_subplot(), codes)
    return figure


def history_figure(history: Iterable[Mapping[str, Any]]) -> Figure:
    """Training over its steps: one panel per column of the history, phases as bands.

    Parameters
    ----------
    history : iterable of mappings
        One record each, with ``phase`` (str), ``step`` (batches done in the phase) and any numbers, in order;
        a `da3d.training.History` is one.

    Raises
    ------
    InputError
        There is nothing to draw.
    """
    records = list(history)
    columns = len({key for record in records for key in record} - {"phase", "step"})
    wide = 2 if columns == 4 else min(max(columns, 1), 3)
    figure = _figure(4.2 * wide, 1.0 + 2.1 * -(-columns // wide))
    draw_history(figure, records, wide)
    return figure


def summary_figure(
    labels: npt.ArrayLike,
    scores: Mapping[str, npt.ArrayLike],
    threshold: float | None = None,
    codes: Codes | None = None,
) -> Figure:
    """ROC of several detectors, the scores of the first, and the code plane, side by side.

    Parameters as in `roc_curve_figure`, `score_histogram` and `code_plane`; without codes there are two
    panels.

    Raises
    ------
    LabelError, InputError
        As there.
    """
    panels = 2 if codes is None else 3
    figure = _figure(4.9 * panels, 5.0)
    axes = [figure.add_subplot(1, panels, place + 1) for place in range(panels)]
    draw_roc(axes[0], labels, scores)
    first = next(iter(scores))
    draw_histogram(axes[1], labels, scores[first], threshold, f"score of {first}")
    if codes is not None:
        draw_codes(axes[2], codes)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG or SVG, all of it or nothing.

    Parameters
    ----------
    figure : Figure
        What to write.
    path : path
        Ends in ``.png`` or ``.svg``; an existing file is replaced only once the new one is complete.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ParameterError
        Another ending.
    FileError
        The folder does not exist or cannot be written to.
    """
    target = Path(path)
    kind = target.suffix.lower().lstrip(".")
    if kind not in ("png", "svg"):
        raise ParameterError(
            f"{target} ends in {target.suffix!r}; give a file name that ends in .png or .svg."
        )
    draft: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, suffix=f".{kind}", delete=False) as stream:
            draft = Path(stream.name)
            figure.savefig(stream, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
        draft.chmod(0o644)
        draft.replace(target)
    except OSError as error:
        raise FileError(
            f"{target} cannot be written ({error.strerror}); choose a folder that can be."
        ) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)
    return target


def _figure(width: float, height: float) -> Figure:
    """An empty white figure, sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")
