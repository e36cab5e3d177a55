"""Forest cover type: cartography of patches of forest, 30 × 30 metres each.

The official file is comma-separated text without a header: 10 measurements, 4 wilderness areas and 40 soil
types as 0/1 columns, and the cover type, 1 to 7.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable, RemoteFile
from da3d.datasets.content import check_counts, check_numbers, read_csv
from da3d.errors import FileError

__all__ = ["COLUMNS", "DATASET", "LAST_NORMAL_TYPE", "load"]

LAST_NORMAL_TYPE = 4
_MEASURES = """
    Elevation Aspect Slope Horizontal_Distance_To_Hydrology Vertical_Distance_To_Hydrology
    Horizontal_Distance_To_Roadways Hillshade_9am Hillshade_Noon Hillshade_3pm
    Horizontal_Distance_To_Fire_Points
"""
COLUMNS = (
    *_MEASURES.split(),
    *(f"Wilderness_Area{number}" for number in range(1, 5)),
    *(f"Soil_Type{number}" for number in range(1, 41)),
    "Cover_Type",
)


def load() -> LabelledTable:
    """Cover types 1 to 4 as normal, 5 to 7 as anomalies.

    Returns
    -------
    LabelledTable
        581012 rows, 54 features (metres, degrees, shades from 0 to 255, and 0/1), 47370 anomalies; groups
        are the cover types as text.

    Raises
    ------
    FileError
        The file is damaged, or can neither be found nor downloaded.
    """
    return cache.official(DATASET.files[0], DATASET.source, _read_official)


def _read_official(path: Path) -> LabelledTable:
    frame = read_csv(path, str(path), header=None)
    if frame.shape[1] != len(COLUMNS):
        raise FileError(f"{path} has {frame.shape[1]} columns instead of {len(COLUMNS)}; not Covertype.")
    frame.columns = list(COLUMNS)
    cover = check_numbers(frame, str(path)).pop("Cover_Type")
    labels = (cover > LAST_NORMAL_TYPE).to_numpy().astype(np.int64)
    table = LabelledTable(frame, labels, groups=cover.astype(str).to_numpy(dtype=object))
    return check_counts(path, table, DATASET.rows, DATASET.features, DATASET.anomalies)


DATASET = Dataset(
    name="covertype",
    title="Forest cover type",
    source="https://archive.ics.uci.edu/dataset/31/covertype",
    licence="CC BY 4.0",
    citation="Blackard: Covertype. UCI Machine Learning Repository, 1998.",
    # The copy and digest that scikit-learn uses.
    files=(
        RemoteFile(
            "https://ndownloader.figshare.com/files/5976039",
            sha256="614360d0257557dd1792834a85a1cdebfadc3c4f30b011d56afee7ffb5b15771",
            save_as="covtype.data.gz",
        ),
    ),
    prepared=(),
    rows=581012,
    features=54,
    anomalies=47370,
    normal_rule="normal = cover types 1 to 4; anomaly = cover types 5 to 7",
    load=load,
)
