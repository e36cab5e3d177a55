"""Public data sets with their origin, their terms and the rule that says who is normal.

>>> from da3d.datasets import load_dataset
>>> table = load_dataset("breast_cancer")
>>> table.frame.shape, table.anomalies
((569, 30), 212)

Importing this package reads nothing and imports neither pandas nor scikit-learn.
"""

from da3d.datasets import breast_cancer, digits, mammography, nsl_kdd
from da3d.datasets.base import (
    Dataset,
    LabelledTable,
    RemoteFile,
    get_dataset,
    list_datasets,
    load_dataset,
    register,
    state,
)

__all__ = [
    "Dataset",
    "LabelledTable",
    "RemoteFile",
    "get_dataset",
    "list_datasets",
    "load_dataset",
    "register",
    "state",
]

register(breast_cancer.DATASET)
register(digits.DATASET)
register(mammography.DATASET)
register(nsl_kdd.DATASET)
