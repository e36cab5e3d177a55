import numpy as np
import pandas as pd
import pytest

from da3d.errors import LabelError, ParameterError
from da3d.preprocessing.labels import marked


@pytest.mark.parametrize(
    ("labels", "arguments", "expected"),
    [
        ([0, 1, 1.0], {}, [0, 1, 1]),
        (["0", "1", "1.0"], {}, [0, 1, 1]),
        ([True, False, True], {}, [1, 0, 1]),
        (["normal", "Anomaly", "normal"], {}, [0, 1, 0]),
        (["BENIGN", "DoS", "Bot"], {"anomaly": ["DoS", "Bot"]}, [0, 1, 1]),
        (["BENIGN", "DoS", "Bot"], {"normal": ["BENIGN"]}, [0, 1, 1]),
        ([3, 4, 5], {"normal": ["3", "5"]}, [0, 1, 0]),
    ],
)
def test_labels_by_what_they_mean(labels, arguments, expected):
    np.testing.assert_array_equal(marked(pd.Series(labels, name="y"), **arguments), expected)


@pytest.mark.parametrize(
    ("labels", "arguments", "error", "says"),
    [
        (["fine", "attack"], {}, LabelError, "holds 'fine', 'attack' and none of them is 1, true or anomaly"),
        (["fine", "attack"], {"normal": ["benign"]}, LabelError, "none of them is 'benign'"),
        (["a", None], {"anomaly": ["a"]}, LabelError, "1 of 2 labels in column 'y' are missing"),
        (["a", "b"], {"anomaly": ["a"], "normal": ["b"]}, ParameterError, "both given"),
    ],
)
def test_unclear_labels_are_refused(labels, arguments, error, says):
    with pytest.raises(error, match=says):
        marked(pd.Series(labels, name="y"), **arguments)
