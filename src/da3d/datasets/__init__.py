"""Public data sets with their origin, their terms and the rule that says who is normal.

>>> from da3d.datasets import load_dataset
>>> table = load_dataset("breast_cancer")
>>> table.frame.shape, table.anomalies
((569, 30), 212)

Importing this package reads nothing and imports neither pandas nor scikit-learn.
"""

from da3d.datasets import (
    breast_cancer,
    census_income,
    cifar10,
    covertype,
    creditcard,
    digits,
    doh,
    emnist_letters,
    fashion_mnist,
    ids2018,
    kddcup99,
    mammography,
    mnist,
    mnist_letters,
    nsl_kdd,
    plane,
    unsw_nb15,
    url,
)
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

for _dataset in (
    breast_cancer.DATASET,
    census_income.DATASET,
    covertype.DATASET,
    creditcard.DATASET,
    creditcard.PART,
    doh.DATASET,
    ids2018.DATASET,
    kddcup99.DATASET,
    mammography.DATASET,
    nsl_kdd.DATASET,
    plane.DATASET,
    unsw_nb15.DATASET,
    unsw_nb15.PART,
    url.DATASET,
    # Images.
    cifar10.DATASET,
    cifar10.PART,
    digits.DATASET,
    emnist_letters.DATASET,
    fashion_mnist.DATASET,
    mnist.DATASET,
    mnist_letters.DATASET,
):
    register(_dataset)
