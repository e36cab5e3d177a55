"""What there is: modules that map tensors to tensors and show their hidden activations."""

from da3d.networks.autoencoder import Autoencoder, Where
from da3d.networks.evidence import Calibrated, Ellipsoid, Memory, clear_outliers
from da3d.networks.mlp import MLP, Activation
from da3d.networks.views import Standardise, View, Views, squash, unsquash

__all__ = [
    "MLP",
    "Activation",
    "Autoencoder",
    "Calibrated",
    "Ellipsoid",
    "Memory",
    "Standardise",
    "View",
    "Views",
    "Where",
    "clear_outliers",
    "squash",
    "unsquash",
]
