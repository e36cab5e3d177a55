"""Mammography: microcalcifications among bright spots in mammograms, as prepared by ODDS."""

from pathlib import Path

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable, RemoteFile
from da3d.datasets.content import check_counts, read_mat, read_npz

__all__ = ["COLUMNS", "DATASET", "load"]

# The files carry no names; these are OpenML's. Woods et al. list, in this order: area, average grey level,
# gradient strength, noise fluctuation, contrast, shape descriptor. That the columns follow the list is
# likely, not documented.
COLUMNS = ("attr1", "attr2", "attr3", "attr4", "attr5", "attr6")


def load() -> LabelledTable:
    """Spots that are no calcification as normal, calcifications as anomalies.

    ODDS publishes no digest, so a download is accepted by its counts of rows, features and anomalies. A
    folder in `DA3D_DATA` may hold ADBench's copy of the same rows instead.

    Returns
    -------
    LabelledTable
        11183 rows, 6 features (dimensionless, standardised to mean 0 and variance 1 by the publishers), 260
        anomalies.

    Raises
    ------
    FileError
        The file is damaged, or can neither be found nor downloaded.
    """
    paths = cache.prepared(DATASET.prepared)
    if paths is not None:
        return _checked(paths[0], read_npz(paths[0], COLUMNS))
    return cache.official(DATASET.files[0], DATASET.source, _read_official)


def _read_official(path: Path) -> LabelledTable:
    return _checked(path, read_mat(path, COLUMNS))


def _checked(path: Path, table: LabelledTable) -> LabelledTable:
    return check_counts(path, table, DATASET.rows, DATASET.features, DATASET.anomalies)


DATASET = Dataset(
    name="mammography",
    title="Mammography (ODDS)",
    source="https://odds.cs.stonybrook.edu/mammography-dataset/",
    licence="no formal licence; free for research with citation",
    citation=(
        "Woods et al.: Comparative evaluation of pattern recognition techniques for detection of "
        "microcalcifications in mammography. IJPRAI 7(6), 1993. Rayana: ODDS Library, 2016."
    ),
    # ODDS links to this file; the digest that others report for it is not confirmed by ODDS and therefore not
    # used.
    files=(
        RemoteFile(
            "https://www.dropbox.com/scl/fi/x36bm1kj7atqrd2/mammography.mat?rlkey=poytkapk2no64s7yy2ux4nzg8&dl=1"
        ),
    ),
    prepared=("adbench/23_mammography.npz",),
    rows=11183,
    features=6,
    anomalies=260,
    normal_rule="normal = no calcification (y = 0); anomaly = calcification (y = 1)",
    load=load,
)
