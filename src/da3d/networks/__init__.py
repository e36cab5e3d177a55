"""What there is: modules that map tensors to tensors and show their hidden activations."""

from da3d.networks.autoencoder import AnyAutoencoder, Autoencoder, HiddenCodeAutoencoder, Where
from da3d.networks.convolution import ConvolutionalAutoencoder, PooledAutoencoder
from da3d.networks.evidence import Calibrated, Ellipsoid, Memory, clear_outliers
from da3d.networks.forest import KnownForest, MaskedForest
from da3d.networks.generative import (
    Discriminator,
    Image,
    ImageDiscriminator,
    ImageGenerator,
    Norm,
    Start,
)
from da3d.networks.hooked import Hooked
from da3d.networks.hypersphere import Hypersphere
from da3d.networks.mlp import MLP, Activation
from da3d.networks.tails import Tails
from da3d.networks.traced import Traced
from da3d.networks.variational import VariationalAutoencoder
from da3d.networks.views import Standardise, View, Views, squash, unsquash

__all__ = [
    "MLP",
    "Activation",
    "AnyAutoencoder",
    "Autoencoder",
    "Calibrated",
    "ConvolutionalAutoencoder",
    "Discriminator",
    "Ellipsoid",
    "HiddenCodeAutoencoder",
    "Hooked",
    "Hypersphere",
    "Image",
    "ImageDiscriminator",
    "ImageGenerator",
    "KnownForest",
    "MaskedForest",
    "Memory",
    "Norm",
    "PooledAutoencoder",
    "Standardise",
    "Start",
    "Tails",
    "Traced",
    "VariationalAutoencoder",
    "View",
    "Views",
    "Where",
    "clear_outliers",
    "squash",
    "unsquash",
]
