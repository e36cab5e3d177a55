"""An experiment is a TOML file; each of its cells leaves a record; tables are made of records.

::

    plan     a TOML file -> a checked plan (entries) -> cells
    cell     one cell: load, split, fit, score, measure
    record   what a cell leaves behind: one small JSON file
    run      all cells, several at a time, each in a process of its own
    tables   records -> numbers, compare -> tests, markdown -> text in documents

>>> from da3d.experiments import read_experiment
>>> read_experiment("experiments/foundation.toml").cells()[0].id  # doctest: +SKIP
'nsl_kdd/0/da3d/0'
"""

from da3d.experiments.compare import Comparison, compare_detectors
from da3d.experiments.entries import METRICS, Plan
from da3d.experiments.markdown import between_markers, to_markdown
from da3d.experiments.plan import Cell, Experiment, read_experiment, select
from da3d.experiments.record import Record, Records, State
from da3d.experiments.run import Progress, Summary, run_cells
from da3d.experiments.tables import Table, make_table

__all__ = [
    "METRICS",
    "Cell",
    "Comparison",
    "Experiment",
    "Plan",
    "Progress",
    "Record",
    "Records",
    "State",
    "Summary",
    "Table",
    "between_markers",
    "compare_detectors",
    "make_table",
    "read_experiment",
    "run_cells",
    "select",
    "to_markdown",
]
