"""Where artificial anomalies come from."""

from da3d.counterexamples import latent, noise

__all__ = ["latent", "noise"]
