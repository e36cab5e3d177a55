"""One object that a user keeps: encode -> detect -> calibrate -> verdicts."""

from da3d.pipeline.calibrate import Calibration
from da3d.pipeline.pipeline import AnomalyPipeline
from da3d.pipeline.thresholds import ResolutionWarning, Threshold

__all__ = ["AnomalyPipeline", "Calibration", "ResolutionWarning", "Threshold"]
