"""The names of all detectors, for help texts: `--help` must not import what a detector needs."""

__all__ = ["DETECTORS"]

DETECTORS = (
    "da3d",
    "a3",
    "fencegan",
    "dagmm",
    "devnet",
    "deep-svdd",
    "deep-sad",
    "autoencoder",
    "adversarial-autoencoder",
    "vae",
    "knn",
    "bagged-nn",
    "mahalanobis",
    "mcd",
    "isolation-forest",
    "lof",
    "ocsvm",
    "pca",
    "ecod",
)
"""The keys of `detectors.DETECTORS`; a test compares them."""
