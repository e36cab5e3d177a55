"""A column of labels -> which rows are anomalies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from da3d.errors import LabelError, ParameterError, TableError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["is_marked", "marked", "take_column", "unknown_column"]

_ANOMALY = frozenset({"1", "true", "anomaly"})
_NORMAL = frozenset({"0", "false", "normal"})


def take_column(frame: "pd.DataFrame", name: str) -> "tuple[pd.DataFrame, pd.Series[Any]]":
    """The table without the column of that name, and the column.

    Raises
    ------
    TableError
        There is no such column.
    """
    if name not in frame.columns:
        raise unknown_column(name, list(frame.columns))
    return frame.drop(columns=name), frame[name]


def unknown_column(name: str, columns: list[str]) -> TableError:
    """The error for a column that a table does not have."""
    from difflib import get_close_matches

    near = get_close_matches(name, columns, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it has {_listed(columns)}."
    return TableError(f"the table has no column '{name}'; {hint}")


def marked(
    column: "pd.Series[Any]", anomaly: Sequence[str] | None = None, normal: Sequence[str] | None = None
) -> "NDArray[np.int64]":
    """1 for each row whose label means anomaly, else 0.

    Labels are compared as text, numbers and truth values by what they mean: ``1``, ``1.0`` and ``"1"`` are
    one label.

    Parameters
    ----------
    column : Series
        The labels.
    anomaly : sequence of str, optional
        Labels that mean anomaly; 1, true and anomaly (in any case) if there are none. All others are normal.
    normal : sequence of str, optional
        Labels that mean normal, instead; all others are anomalies.

    Raises
    ------
    LabelError
        Labels are missing, none means anomaly and it is not clear that all mean normal, or none is normal
        where normal labels are named.
    ParameterError
        Both kinds of labels are named.
    """
    import numpy as np
    import pandas as pd

    codes, values = pd.factorize(column)
    texts = [_spelled(value) for value in values]
    hits = _hits(texts, anomaly, normal)
    _refuse_missing(column.name, codes, texts)
    if normal and all(hits):
        raise LabelError(
            f"column '{column.name}' holds {_listed([str(value) for value in values])} and none of them "
            f"is {_listed(list(normal))}; name the labels that mean normal."
        )
    if not any(hits) and not normal:
        plain = texts if anomaly else [text.lower() for text in texts]
        _refuse_unclear(str(column.name), [str(value) for value in values], plain, anomaly)
    return np.array(hits, dtype=np.int64)[codes]


def is_marked(
    column: "pd.Series[Any]", anomaly: Sequence[str] | None = None, normal: Sequence[str] | None = None
) -> "NDArray[np.bool_]":
    """Which rows `marked` would call anomalies, or refuse for want of a label.

    For a part of a table: what is wrong with labels shows in all of them only.

    Raises
    ------
    ParameterError
        Both kinds of labels are named.
    """
    import numpy as np
    import pandas as pd

    codes, values = pd.factorize(column)
    hits = _hits([_spelled(value) for value in values], anomaly, normal)
    return np.array([*hits, True], dtype=bool)[codes]  # -1, the last, is a missing label


def _hits(texts: list[str], anomaly: Sequence[str] | None, normal: Sequence[str] | None) -> list[bool]:
    """Which labels mean anomaly."""
    if anomaly and normal:
        raise ParameterError("--anomaly and --normal are both given; name one kind of labels.")
    if normal:
        kept = {_spelled(value) for value in normal}
        return [text not in kept for text in texts]
    if anomaly:
        wanted = {_spelled(value) for value in anomaly}
        return [text in wanted for text in texts]
    return [text.lower() in _ANOMALY for text in texts]


def _spelled(value: object) -> str:
    """A label as text, with one spelling for equal numbers and truth values."""
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else repr(number)


def _refuse_missing(name: object, codes: "NDArray[np.intp]", texts: list[str]) -> None:
    """Among numbers and truth values ``NA`` and the like are no label; among words they may be one."""
    import numpy as np

    from da3d.preprocessing.text import MISSING

    plain = [text for text in texts if text not in MISSING]
    gaps = MISSING if plain and all(map(_is_plain, plain)) else ("",)
    missing = int(np.isin(codes, [-1, *(place for place, text in enumerate(texts) if text in gaps)]).sum())
    if missing:
        raise LabelError(
            f"{missing} of {len(codes)} labels in column '{name}' are missing; give every row a label or "
            "leave those rows out."
        )


def _is_plain(text: str) -> bool:
    """Whether a label is a number or a truth value."""
    try:
        float(text)
    except ValueError:
        return text in ("true", "false")
    return True


def _refuse_unclear(name: str, shown: list[str], texts: list[str], anomaly: Sequence[str] | None) -> None:
    """Refuse labels of which none means anomaly, unless that is clearly what was meant."""
    if set(texts) <= _NORMAL or (anomaly and len(texts) == 1):
        return
    asked = f"none of them is {_listed(list(anomaly))}" if anomaly else "none of them is 1, true or anomaly"
    raise LabelError(
        f"column '{name}' holds {_listed(shown)} and {asked}; name the labels that mean anomaly (--anomaly "
        "on the command line)."
    )


def _listed(names: list[str], most: int = 6) -> str:
    text = ", ".join(f"'{name}'" for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
