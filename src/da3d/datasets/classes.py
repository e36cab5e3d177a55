"""Which groups of a table are normal and which are anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from da3d.datasets.base import LabelledTable
from da3d.errors import LabelError, TableError

__all__ = ["choose_classes", "groups_of", "listed"]


def choose_classes(
    table: LabelledTable, normal: Sequence[str] | None = None, anomalous: Sequence[str] | None = None
) -> LabelledTable:
    """The table, and its official test set, with other groups as normal and as anomalies.

    Parameters
    ----------
    table : LabelledTable
        Rows with groups.
    normal : sequence of str or None
        Groups that are normal; None leaves normal what the table says is, except for `anomalous`.
    anomalous : sequence of str or None
        Groups that are anomalies; None for all groups that are not normal. Rows of neither kind are left out.

    Raises
    ------
    TableError
        The table has no groups.
    LabelError
        There is no such group, one is both, or no row of a kind is left.
    """
    if normal is None and anomalous is None:
        return table
    known = groups_of(table)
    known |= set() if table.test is None else groups_of(table.test)
    asked = [*(normal or ()), *(anomalous or ())]
    if unknown := [group for group in asked if group not in known]:
        raise LabelError(f"there is no group {unknown[0]!r} in this table; it has {listed(known)}.")
    if both := set(normal or ()) & set(anomalous or ()):
        raise LabelError(f"group {min(both)!r} cannot be both normal and anomalous.")
    chosen = _chosen(table, normal, anomalous)
    if not 0 < chosen.anomalies < len(chosen.labels):
        raise LabelError("with these groups the table has no normal row or no anomaly; choose others.")
    test = None if table.test is None else _chosen(table.test, normal, anomalous)
    return replace(chosen, test=test)


def groups_of(table: LabelledTable) -> set[str]:
    """Names of the groups of a table."""
    if table.groups is None:
        raise TableError("this table has no groups, so classes cannot be chosen in it.")
    return set(table.groups)


def listed(groups: set[str]) -> str:
    """At most forty names."""
    names = sorted(map(str, groups))
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")


def _chosen(
    table: LabelledTable, normal: Sequence[str] | None, anomalous: Sequence[str] | None
) -> LabelledTable:
    """The rows of these groups with the labels that follow."""
    assert table.groups is not None
    strange = np.isin(table.groups, list(anomalous or ()))
    usual = (table.labels == 0) & ~strange if normal is None else np.isin(table.groups, list(normal))
    if anomalous is None:
        strange = ~usual
    return replace(table, labels=strange.astype(np.int64)).take(strange | usual)
