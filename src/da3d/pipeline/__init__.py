"""One object that a user keeps: encode -> detect -> calibrate -> verdicts.

What needs torch or pandas is imported when it is first used, so that a threshold can be shown without.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from da3d.pipeline.calibrate import Calibration, ResolutionWarning
from da3d.pipeline.thresholds import Threshold

if TYPE_CHECKING:
    from da3d.pipeline.drift import ColumnDrift, DriftReport
    from da3d.pipeline.explain import Explanation
    from da3d.pipeline.feedback import Feedback, Suppression
    from da3d.pipeline.operating import operating_table
    from da3d.pipeline.pipeline import AnomalyPipeline
    from da3d.pipeline.profile import Profile
    from da3d.pipeline.reference import Reference

__all__ = [
    "AnomalyPipeline",
    "Calibration",
    "ColumnDrift",
    "DriftReport",
    "Explanation",
    "Feedback",
    "Profile",
    "Reference",
    "ResolutionWarning",
    "Suppression",
    "Threshold",
    "operating_table",
]

_HOMES = {
    "AnomalyPipeline": "da3d.pipeline.pipeline",
    "ColumnDrift": "da3d.pipeline.drift",
    "DriftReport": "da3d.pipeline.drift",
    "Explanation": "da3d.pipeline.explain",
    "Feedback": "da3d.pipeline.feedback",
    "Profile": "da3d.pipeline.profile",
    "Reference": "da3d.pipeline.reference",
    "Suppression": "da3d.pipeline.feedback",
    "operating_table": "da3d.pipeline.operating",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'da3d.pipeline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
