"""MNIST: handwritten digits of 28 × 28 pixels."""

from da3d.datasets.base import Dataset, LabelledTable
from da3d.datasets.images import DIGITS, POOLED, idx_files, load_idx

__all__ = ["ANOMALOUS", "DATASET", "load"]

ANOMALOUS = DIGITS[5:]


def load(pooled: bool = False) -> LabelledTable:
    """Digits 0 to 4 as normal, 5 to 9 as anomalies.

    Parameters
    ----------
    pooled : bool
        As `DATASET.options` describes it.

    Returns
    -------
    LabelledTable
        60000 training images (29404 anomalies) and, as `test`, 10000 (4861 anomalies), of 28 × 28 pixels from
        0 to 255; groups are the digits as text.

    Raises
    ------
    FileError
        The files are damaged, or can neither be found nor downloaded.
    """
    return load_idx(DATASET, DIGITS, ANOMALOUS, pooled)


DATASET = Dataset(
    name="mnist",
    title="MNIST, handwritten digits",
    source="https://yann.lecun.com/exdb/mnist/",
    licence="CC BY-SA 3.0, as commonly stated",
    citation="LeCun et al.: Gradient-based learning applied to document recognition. Proc. IEEE, 1998.",
    # The copy and digests that TensorFlow Datasets uses.
    files=idx_files(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "mnist",
        (
            (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
    ),
    prepared=("mnist.npz",),
    rows=60000,
    features=784,
    anomalies=29404,
    normal_rule="normal = digits 0 to 4; anomaly = digits 5 to 9",
    load=load,
    options={"pooled": POOLED},
)
