"""A page on which people look at the strangest rows of a table, see why, and mark them."""

from da3d.serve.triage.marks import Marks
from da3d.serve.triage.router import Triage, open_triage
from da3d.serve.triage.table import JudgedTable, judge_table

__all__ = ["JudgedTable", "Marks", "Triage", "judge_table", "open_triage"]
