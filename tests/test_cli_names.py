"""The names that help texts show are those of the detectors."""

from da3d.cli import names
from da3d.detectors import DETECTORS


def test_every_detector_is_in_the_help():
    missing = sorted(set(DETECTORS) - set(names.DETECTORS))
    assert not missing, f"add {', '.join(missing)} to DETECTORS in src/da3d/cli/names.py"


def test_the_help_names_no_other_detector():
    unknown = sorted(set(names.DETECTORS) - set(DETECTORS))
    assert not unknown, f"{', '.join(unknown)} in src/da3d/cli/names.py is not in detectors.DETECTORS"


def test_no_name_stands_twice():
    assert len(set(names.DETECTORS)) == len(names.DETECTORS)
