"""One object that a user keeps: encode -> detect -> calibrate -> verdicts.

`AnomalyPipeline` is imported when it is first used, so that a threshold can be shown without loading torch.
"""

from typing import TYPE_CHECKING

from da3d.pipeline.calibrate import Calibration
from da3d.pipeline.thresholds import ResolutionWarning, Threshold

if TYPE_CHECKING:
    from da3d.pipeline.pipeline import AnomalyPipeline

__all__ = ["AnomalyPipeline", "Calibration", "ResolutionWarning", "Threshold"]


def __getattr__(name: str) -> object:
    if name == "AnomalyPipeline":
        from da3d.pipeline.pipeline import AnomalyPipeline

        return AnomalyPipeline
    raise AttributeError(f"module 'da3d.pipeline' has no attribute {name!r}")
