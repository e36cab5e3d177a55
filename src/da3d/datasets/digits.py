"""Handwritten digits of 8 × 8 pixels, bundled with scikit-learn."""

import numpy as np

from da3d.datasets.base import Dataset, LabelledTable
from da3d.datasets.images import DIGITS, image_table

__all__ = ["ANOMALOUS", "DATASET", "load"]

ANOMALOUS = DIGITS[6:]


def load() -> LabelledTable:
    """Digits 0 to 5 as normal, 6 to 9 as anomalies.

    Returns
    -------
    LabelledTable
        1797 images, 714 anomalies, of 8 × 8 pixels; the 17 shades of the original are stretched to the 0 to
        255 of all other images. Groups are the digits as text.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return image_table((pixels, bunch.target.astype(np.uint8)), DIGITS, ANOMALOUS)


DATASET = Dataset(
    name="digits",
    title="Handwritten digits, 8 × 8 pixels",
    source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    licence="CC BY 4.0",
    citation="Alpaydin, Kaynak: Optical Recognition of Handwritten Digits. UCI Repository, 1998.",
    files=(),
    prepared=(),
    rows=1797,
    features=64,
    anomalies=714,
    normal_rule="normal = digits 0 to 5; anomaly = digits 6 to 9",
    load=load,
)
