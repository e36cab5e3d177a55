"""Breast cancer Wisconsin (diagnostic): cell nuclei measured in images, bundled with scikit-learn."""

import numpy as np

from da3d.datasets.base import Dataset, LabelledTable

__all__ = ["DATASET", "load"]


def load() -> LabelledTable:
    """Benign rows as normal, malignant ones as anomalies.

    Returns
    -------
    LabelledTable
        569 rows, 30 named measurements (all positive or zero, each in its own unit), 212 anomalies; groups
        are the diagnoses ``benign`` and ``malignant``.
    """
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    diagnosis = np.asarray(bunch.target_names, dtype=object)[bunch.target.to_numpy()]
    return LabelledTable(bunch.data, (diagnosis == "malignant").astype(np.int64), groups=diagnosis)


DATASET = Dataset(
    name="breast_cancer",
    title="Breast cancer Wisconsin (diagnostic)",
    source="https://archive.ics.uci.edu/dataset/17/breast+cancer+wisconsin+diagnostic",
    licence="CC BY 4.0",
    citation="Street et al.: Nuclear feature extraction for breast tumor diagnosis. SPIE 1905, 1993.",
    files=(),
    prepared=(),
    rows=569,
    features=30,
    anomalies=212,
    normal_rule="normal = benign; anomaly = malignant",
    load=load,
)
