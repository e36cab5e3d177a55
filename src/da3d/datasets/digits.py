"""Handwritten digits of 8 × 8 pixels, bundled with scikit-learn."""

import numpy as np

from da3d.datasets.base import Dataset, LabelledTable

__all__ = ["DATASET", "LAST_NORMAL_DIGIT", "load"]

LAST_NORMAL_DIGIT = 5


def load() -> LabelledTable:
    """Digits 0 to 5 as normal, 6 to 9 as anomalies.

    Returns
    -------
    LabelledTable
        1797 rows, 64 pixel columns ``pixel_<row>_<column>`` with values 0 to 16, 714 anomalies; groups are
        the digits as text.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits(as_frame=True)
    digit = bunch.target.to_numpy()
    labels = (digit > LAST_NORMAL_DIGIT).astype(np.int64)
    return LabelledTable(bunch.data, labels, groups=digit.astype(str).astype(object))


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
