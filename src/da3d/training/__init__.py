"""How one learns: phases, batches, updates, and those who watch. Knows no method's name."""

from da3d.training.adam import Adam
from da3d.training.callbacks import Callback, Event, ProgressBar, StopEarly
from da3d.training.checkpoint import Checkpoint
from da3d.training.history import History
from da3d.training.loop import train
from da3d.training.schedule import Batch, Phase, Update

__all__ = [
    "Adam",
    "Batch",
    "Callback",
    "Checkpoint",
    "Event",
    "History",
    "Phase",
    "ProgressBar",
    "StopEarly",
    "Update",
    "train",
]
