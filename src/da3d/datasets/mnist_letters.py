"""Digits of MNIST and letters of EMNIST in one table: digits are normal, letters are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from da3d.datasets import emnist_letters, mnist
from da3d.datasets.base import Dataset, LabelledTable

__all__ = ["DATASET", "load"]


def load() -> LabelledTable:
    """All digits as normal, all letters as anomalies; A3 chooses some of the letters by their groups.

    Returns
    -------
    LabelledTable
        184800 training images (124800 anomalies) and, as `test`, 30800 (20800 anomalies), of 28 × 28 pixels
        from 0 to 255; groups are digits and letters.

    Raises
    ------
    FileError
        The files are damaged, or can neither be found nor downloaded.
    """
    digits, letters = mnist.load(), emnist_letters.load()
    assert digits.test is not None
    assert letters.test is not None
    return replace(_joined(digits, letters), test=_joined(digits.test, letters.test))


def _joined(digits: LabelledTable, letters: LabelledTable) -> LabelledTable:
    import pandas as pd

    assert digits.groups is not None
    assert letters.groups is not None
    return LabelledTable(
        pd.concat([digits.frame, letters.frame], ignore_index=True),
        np.repeat([0, 1], [len(digits.frame), len(letters.frame)]),
        groups=np.concatenate([digits.groups, letters.groups]),
        image_shape=digits.image_shape,
    )


DATASET = Dataset(
    name="mnist_letters",
    title="MNIST digits with EMNIST letters",
    source=emnist_letters.DATASET.source,
    licence="as mnist and emnist_letters",
    citation=f"{mnist.DATASET.citation} {emnist_letters.DATASET.citation}",
    files=(*mnist.DATASET.files, *emnist_letters.DATASET.files),
    prepared=(*mnist.DATASET.prepared, *emnist_letters.DATASET.prepared),
    rows=184800,
    features=784,
    anomalies=124800,
    normal_rule="normal = digits; anomaly = letters",
    load=load,
)
