"""What every detector promises, applied to all that exist by `test_contract.py`."""

from collections.abc import Callable
from typing import Any

from da3d.detectors import DA3D, DETECTORS, Detector

# Budgets that make a fit take a second; everything else is the default.
QUICK: dict[str, dict[str, Any]] = {
    "da3d": {"steps": (150, 30, 60), "batch_size": 64},
}


def quick(name: str, **parameters: Any) -> Detector:
    """The detector of that name with a small budget."""
    return DETECTORS[name](**{"random_state": 0, **QUICK.get(name, {}), **parameters})


VARIANTS: dict[str, Callable[[], Detector]] = {
    **{name: (lambda name=name: quick(name)) for name in DETECTORS},
    "da3d-preprint": lambda: DA3D("preprint", epochs=(5, 1, 3), random_state=0),
    "da3d-released": lambda: DA3D("released", epochs=(5, 0, 3), random_state=0),
}
"""Every detector, and every preset of it, by a name for the test report."""
