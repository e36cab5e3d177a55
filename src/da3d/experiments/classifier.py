"""A classifier of the groups of normal images: the target of A3's experiments 3a to 3d.

It never learns what an anomaly is, nor that there are any; A3 reads its hidden activations.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.errors import ParameterError
from da3d.seeding import seeded
from da3d.training import Batch, Phase, Update, train

__all__ = ["Classifier", "train_classifier"]


class Classifier(nn.Module):
    """The example network of Keras for MNIST, with its non-linearities as layers of their own.

    Parameters
    ----------
    shape : tuple of three ints
        (channels, height, width) of an image; height and width at least 6.
    classes : int
        How many groups there are.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.shape = shape
        channels, height, width = shape
        pooled = 64 * ((height - 4) // 2) * ((width - 4) // 2)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout(0.25), nn.Flatten(),
            nn.Linear(pooled, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, classes),
        )  # fmt: skip

    def forward(self, images: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image class"]:
        """Logits of the classes, for pixels from 0 to 255."""
        outputs: Tensor = self.layers(images / 255.0)
        return outputs

    def confusion(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy of images whose class is in the last column of their row."""
        images, classes = batch.normal[:, :-1], batch.normal[:, -1]
        logits = self(images.reshape(-1, *self.shape))
        return nn.functional.cross_entropy(logits, classes.long())


def train_classifier(
    images: npt.NDArray[np.generic], groups: npt.NDArray[np.object_], epochs: int, seed: int
) -> Classifier:
    """A classifier of images, trained on one thread of the CPU.

    Parameters
    ----------
    images : array, shape (images, channels, height, width)
        Pixels from 0 to 255.
    groups : array of str, shape (images,)
        Class of each image.
    epochs : int
        Passes over the images, of batches of 128.
    seed : int
        Decides the start and the order.

    Raises
    ------
    ParameterError
        All images are of one group.
    """
    names, classes = np.unique(groups.astype(str), return_inverse=True)
    if len(names) < 2:
        raise ParameterError(
            "classifier needs normal images of at least two groups to tell apart; name more in normal."
        )
    flat = images.reshape(len(images), -1).astype(np.float32)
    rows = torch.from_numpy(np.column_stack([flat, classes.astype(np.float32)]))
    with seeded(seed, torch.device("cpu")):
        network = Classifier(images.shape[1:], len(names))
        update = Update(
            name="confusion",
            trains=(network,),
            loss=network.confusion,
            optimizer=partial(torch.optim.Adam, lr=1e-3),
        )
        phase = Phase(name="classifier", updates=(update,), epochs=epochs, batch_size=128)
        train(network, (phase,), rows, rows[:0])
    return network.eval()
