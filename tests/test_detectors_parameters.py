"""Parameters of the wrong kind are named before anything is learned."""

import inspect

import numpy as np
import pytest

from da3d import A3, DA3D, KNN, DevNet
from da3d.detectors import DETECTORS, make_detector
from da3d.errors import ParameterError

ROWS = np.random.default_rng(0).normal(size=(40, 3))


def parameters_of(*kinds):
    """Detector and parameter, wherever a signature names a number and not text."""
    for name, detector in DETECTORS.items():
        for parameter in inspect.signature(detector).parameters.values():
            kind = str(parameter.annotation)
            if any(each in kind for each in kinds) and "str" not in kind:
                yield name, parameter.name


@pytest.mark.parametrize(("name", "parameter"), list(parameters_of("int", "float")))
def test_text_is_no_number(name, parameter):
    with pytest.raises(ParameterError, match=f"^{parameter} is 'abc' but must be a"):
        make_detector(name, **{parameter: "abc"}).fit(ROWS)


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        (KNN(neighbors=True), "neighbors is True but must be a whole number."),
        (KNN(neighbors=2.0), "neighbors is 2.0 but must be a whole number."),
        (KNN(neighbors=None), "neighbors is None but must be a whole number."),
        (KNN(random_state="x"), "random_state is 'x' but must be a whole number or a RandomState or None."),
        (DA3D(steps=7), "steps is 7 but must be a list of whole numbers or None."),
        (DA3D(widths=["a"]), r"widths is \['a'\] but must be a list of whole numbers or None."),
        (DA3D(critic_weights="abc"), "critic_weights is 'abc' but must be a list of numbers or None."),
        (DA3D(evidence="abc"), "evidence is 'abc' but must be a mapping of names to values or None."),
        (DevNet(learning_rate=[1]), r"learning_rate is \[1\] but must be a number."),
        (
            DA3D(preset=["fast"]),
            r"preset is \['fast'\] but must be one of default, fast, preprint, released.",
        ),
        (A3(target=3), "target is 3 but must be text or a Module."),
        (DA3D(critic_weights=[1, 2]), r"critic_weights is \(1, 2\) but must be three numbers >= 0: .*"),
        (DA3D(trim=1.5), r"trim is 1.5 but must lie in \[0, 1\): a share of the training rows."),
        (DevNet(threads=0), "threads is 0 but must be at least 1."),
    ],
)
def test_the_sentence_says_what_is_needed(detector, words):
    with pytest.raises(ParameterError, match=f"^{words}$"):
        detector.fit(ROWS)


def test_numbers_of_numpy_are_numbers():
    KNN(neighbors=np.int64(3), contamination=np.float32(0.1)).fit(ROWS)
    KNN(neighbors=3, contamination=np.float64(0.1), random_state=np.random.RandomState(0)).fit(ROWS)
