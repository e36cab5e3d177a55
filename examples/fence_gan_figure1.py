"""Figure 1 of the Fence GAN paper: what its three losses do to points in the plane.

Real points come from N((20, 20), 3). (A) has the numbers of the authors' code, (B) is the original GAN as a
special case of the same equations. The paper does not say with which numbers its failures (C) to (E) were
made; those below were chosen here to show what its text describes. Five full fits of 30 000 batches take
about ten minutes on one core:

    python examples/fence_gan_figure1.py fence.svg
    python examples/fence_gan_figure1.py fence.svg --steps 3000
"""

import argparse
from typing import Any

import numpy as np
from scipy.special import expit

from da3d import FenceGAN
from da3d.reports.fence import FencePanel, fence_figure
from da3d.reports.figures import save_figure

SETTINGS: dict[str, dict[str, Any]] = {
    "(A) α ½, β 15, γ 0.1": {},
    "(B) original GAN": {"encirclement": "log_distance", "alpha": 1.0, "beta": 0.0, "gamma": 1.0},
    "(C) no dispersion: β 0": {"beta": 0.0},
    "(D) too much dispersion: β 100": {"beta": 100.0},
    "(E) target inside: α 1, γ 1": {"alpha": 1.0, "gamma": 1.0},
}


def panel(title: str, parameters: dict[str, Any], steps: int, seed: int) -> FencePanel:
    """Fit with one set of numbers, and take what is to be seen of it."""
    real = np.random.default_rng(seed).normal(20.0, 3.0, size=(5000, 2))
    detector = FenceGAN("2d", steps=(20, steps), random_state=seed, **parameters).fit(real)
    return FencePanel(
        title,
        real[:500],
        detector.generate(200, seed),
        lambda points: expit(-detector.anomaly_score(points)),
    )


def main() -> None:
    """Fit five times and draw."""
    parser = argparse.ArgumentParser(description="Draw Figure 1 of the Fence GAN paper.")
    parser.add_argument("path", help="ends in .svg or .png")
    parser.add_argument("--steps", type=int, default=30_001, help="batches per fit")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    panels = []
    for title, parameters in SETTINGS.items():
        print(title, flush=True)
        panels.append(panel(title, parameters, arguments.steps, arguments.seed))
    print(save_figure(fence_figure(panels, (0.0, 40.0)), arguments.path))


if __name__ == "__main__":
    main()
