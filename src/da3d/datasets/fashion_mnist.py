"""Fashion-MNIST: pieces of clothing, 28 × 28 pixels, in MNIST's format."""

from da3d.datasets.base import Dataset, LabelledTable
from da3d.datasets.images import POOLED, idx_files, load_idx

__all__ = ["ANOMALOUS", "CLASSES", "DATASET", "load"]

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
ANOMALOUS = CLASSES[5:]


def load(pooled: bool = False) -> LabelledTable:
    """The first five classes as normal, the others as anomalies.

    Parameters
    ----------
    pooled : bool
        As `DATASET.options` describes it.

    Returns
    -------
    LabelledTable
        60000 training images (30000 anomalies) and, as `test`, 10000 (5000 anomalies), of 28 × 28 pixels from
        0 to 255; groups are the names of the classes.

    Raises
    ------
    FileError
        The files are damaged, or can neither be found nor downloaded.
    """
    return load_idx(DATASET, CLASSES, ANOMALOUS, pooled)


DATASET = Dataset(
    name="fashion_mnist",
    title="Fashion-MNIST, pieces of clothing",
    source="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
    citation="Xiao, Rasul, Vollgraf: Fashion-MNIST: a novel image dataset. arXiv:1708.07747, 2017.",
    # The digests are those that TensorFlow Datasets uses.
    files=idx_files(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "fashion_mnist",
        (
            (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
    ),
    prepared=("fashion_mnist.npz",),
    rows=60000,
    features=784,
    anomalies=30000,
    normal_rule="normal = T-shirt/top, Trouser, Pullover, Dress, Coat; anomaly = the other five classes",
    load=load,
    options={"pooled": POOLED},
)
