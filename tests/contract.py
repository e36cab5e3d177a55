"""What every detector promises, applied to all that exist by `test_contract.py`."""

from collections.abc import Callable
from typing import Any

from da3d.detectors import A3, AAE, AE, DA3D, DAGMM, DETECTORS, VAE, Detector, DevNet, FenceGAN

# Budgets that make a fit take a second; everything else is the default.
QUICK: dict[str, dict[str, Any]] = {
    "da3d": {"steps": (150, 30, 60), "batch_size": 64},
    "a3": {"steps": (100, 150), "batch_size": 64},
    "autoencoder": {"steps": 200, "batch_size": 64},
    "adversarial-autoencoder": {"steps": 100, "batch_size": 64},
    "vae": {"steps": 200, "batch_size": 64},
    "dagmm": {"steps": 300, "batch_size": 64},
    "devnet": {"steps": 300, "batch_size": 64},
    "fencegan": {"steps": (20, 200), "batch_size": 64},
    "deep-svdd": {"steps": (100, 200), "batch_size": 64},
    "deep-sad": {"steps": (100, 200), "batch_size": 64},
}

# Budgets for what does not depend on how much was learned.
TINY: dict[str, dict[str, Any]] = {
    "da3d": {"steps": (6, 2, 4), "batch_size": 32},
    "a3": {"steps": (6, 6), "batch_size": 32},
    "autoencoder": {"steps": 6, "batch_size": 32},
    "adversarial-autoencoder": {"steps": 6, "batch_size": 32},
    "vae": {"steps": 6, "batch_size": 32},
    "dagmm": {"steps": 6, "batch_size": 32},
    "devnet": {"steps": 6, "batch_size": 32},
    "fencegan": {"steps": (2, 6), "batch_size": 32},
    "deep-svdd": {"steps": (6, 6), "batch_size": 32},
    "deep-sad": {"steps": (6, 6), "batch_size": 32},
}


def quick(name: str, **parameters: Any) -> Detector:
    """The detector of that name with a small budget."""
    return DETECTORS[name](**{"random_state": 0, **QUICK.get(name, {}), **parameters})


VARIANTS: dict[str, Callable[[], Detector]] = {
    **{name: (lambda name=name: quick(name)) for name in DETECTORS},
    "da3d-fast": lambda: DA3D("fast", random_state=0),
    "da3d-preprint": lambda: DA3D("preprint", epochs=(5, 1, 3), random_state=0),
    "da3d-released": lambda: DA3D("released", epochs=(5, 0, 3), random_state=0),
    "a3-paper": lambda: A3("paper", epochs=(3, 3), random_state=0),
    "autoencoder-paper": lambda: AE("paper", epochs=5, random_state=0),
    "adversarial-autoencoder-paper": lambda: AAE("paper", epochs=5, random_state=0),
    "vae-paper": lambda: VAE("paper", epochs=5, random_state=0),
    "dagmm-kdd": lambda: DAGMM("kdd", epochs=5, random_state=0),
    "devnet-simple": lambda: DevNet(simple=10, target_epochs=3, steps=50, batch_size=64, random_state=0),
    "fencegan-2d": lambda: FenceGAN("2d", steps=(5, 30), random_state=0),
    "fencegan-kdd99": lambda: FenceGAN("kdd99", epochs=(0, 5), batch_size=32, random_state=0),
}
"""Every detector, and every preset of it, by a name for the test report."""
