"""Points in the plane: the two-dimensional example of the Fence GAN paper, drawn anew each time."""

from da3d.datasets.base import Dataset, LabelledTable

__all__ = ["DATASET", "load"]


def load() -> LabelledTable:
    """5000 points of N((20, 20), 3) as normal rows, 500 around them as anomalies: `toy.plane`."""
    from da3d.datasets import toy  # it imports pandas

    return toy.plane()


DATASET = Dataset(
    name="plane",
    title="Points in the plane, as in Fence GAN's Figure 1",
    source="https://arxiv.org/abs/1904.01209",
    licence="generated, no terms",
    citation="Ngo et al.: Fence GAN: Towards Better Anomaly Detection. ICTAI, 2019.",
    files=(),
    prepared=(),
    rows=5500,
    features=2,
    anomalies=500,
    normal_rule="normal = N((20, 20), 3); anomaly = the rest of the square [0, 40] x [0, 40]",
    load=load,
)
