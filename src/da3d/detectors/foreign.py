"""Detectors of PyOD and scikit-learn, by the name of their class: a wide field to compare with.

``make_detector("pyod:ALAD", epochs=20)`` and ``make_detector("sklearn:LocalOutlierFactor", novelty=True)``
give a detector with the face of all others. Classifiers of scikit-learn are there too: they learn to tell the
known anomalies from the rows believed normal. What this library promises of its own detectors beyond that (a
row's score does not depend on its neighbours, a second fit finds the same) is up to the class, and what it
has learned cannot be kept in a model file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, OutlierMixin
from sklearn.utils.discovery import all_estimators

from da3d.detectors.standardised import Rows, Standardised
from da3d.errors import ExtraError, ParameterError
from da3d.seeding import seeded

__all__ = ["Foreign", "ForeignClassifier", "is_foreign", "make_foreign"]

LIBRARIES = ("pyod", "sklearn")

# PyOD's modules for graphs, series, and objects that a language model must read first; they take no rows.
_OF_OTHER_THINGS = ("pyg_", "ts_", "embedding", "audio_")
_SEEDS = ("random_state", "seed")
_WIDTH = "n_features"


class Foreign(Standardised):
    """An outlier detector of PyOD or scikit-learn.

    Columns are standardised first, as for the library's own detectors. While the class learns or scores, the
    global generators of Python, NumPy and torch are seeded, since some classes draw from them; afterwards
    they are as they were. What a class prints goes to standard error.

    Parameters
    ----------
    name : str
        ``"pyod:CLASS"`` or ``"sklearn:CLASS"``.
    parameters : dict, optional
        Arguments of the class. If it takes a `random_state` or `seed` that is not among them, it gets
        `seed_`; if it must have `n_features`, it gets the number of columns.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5]. It is not given to the class, whose
        own threshold is never used.
    random_state : int, RandomState or None
        Seeds the class and the generators.

    Attributes
    ----------
    model_ : object
        The fitted object of the class.
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.name = name
        self.parameters = parameters
        self.contamination = contamination
        self.random_state = random_state

    def _learn_standardised(self, rows: Rows) -> None:
        self._fit_model(rows)

    def _fit_model(self, rows: Rows, *labels: Rows) -> None:
        kind = _class_of(self.name)
        filled = {key: self._small_seed for key in _SEEDS if key in _arguments(kind)}
        if _WIDTH in _needed(kind):
            filled[_WIDTH] = rows.shape[1]
        with _guest(self._small_seed):
            self.model_ = _made(self.name, kind, filled | dict(self.parameters or {}))
            self.model_.fit(rows, *labels)

    def _score_standardised(self, rows: Rows) -> Rows:
        with _guest(self._small_seed):
            if self.name.startswith("pyod:"):
                return np.asarray(self.model_.decision_function(rows), dtype=np.float64)
            return -np.asarray(self.model_.score_samples(rows), dtype=np.float64)

    @property
    def _small_seed(self) -> int:
        return self.seed_ % 2**32  # the largest that NumPy's older generators take

    def _arrays(self) -> dict[str, NDArray[Any]]:
        raise self._refusal()

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        raise self._refusal()

    def _refusal(self) -> ParameterError:
        return ParameterError(
            f"{self.name} is a detector of another library and cannot be kept in a model file, which holds "
            "data and no objects; keep its scores, or use one of da3d's own detectors."
        )


class ForeignClassifier(Foreign):
    """A classifier of scikit-learn that learns to tell known anomalies from normal rows; it needs some.

    The score is its decision function, or the probability of an anomaly where it has none. Parameters and
    attributes are those of `Foreign`.
    """

    uses_known_anomalies = True

    def _learn(self, normal: Rows, known: Rows) -> None:
        if not len(known):
            raise ParameterError(
                f"{self.name} is a classifier and learns from known anomalies, but y marks none; mark some "
                "with 1, or use a detector that needs none."
            )
        self._known = known
        try:
            super()._learn(normal, known)
        finally:
            del self._known

    def _learn_standardised(self, rows: Rows) -> None:
        known = (self._known - self.mean_) / self.deviation_
        labels = np.repeat([0.0, 1.0], [len(rows), len(known)])
        with self._own_errors("learn from these rows"):
            self._fit_model(np.concatenate([rows, known]), labels)

    def _score_standardised(self, rows: Rows) -> Rows:
        with _guest(self._small_seed), self._own_errors("score these rows"):
            if hasattr(self.model_, "decision_function"):
                return np.asarray(self.model_.decision_function(rows), dtype=np.float64)
            return np.asarray(self.model_.predict_proba(rows)[:, 1], dtype=np.float64)

    @contextmanager
    def _own_errors(self, task: str) -> Iterator[None]:
        """Some classes want counts, several known anomalies, or other arguments than their defaults."""
        try:
            yield
        except (ValueError, TypeError, np.linalg.LinAlgError) as error:
            raise ParameterError(
                f"{self.name} cannot {task}: {error}. Use another class or other arguments."
            ) from error


def is_foreign(name: str) -> bool:
    """Whether a name is that of a class in another library."""
    return ":" in name


def make_foreign(
    name: str,
    *,
    contamination: float = 0.01,
    random_state: int | np.random.RandomState | None = None,
    **parameters: Any,
) -> Foreign:
    """The unfitted detector of that name, with all arguments of its class written out.

    Parameters
    ----------
    name : str
        ``"pyod:CLASS"`` or ``"sklearn:CLASS"``.
    contamination, random_state
        As in `Foreign`.
    **parameters
        Arguments of the class. Classes of PyOD that talk while they learn are silent unless `verbose` is
        given.

    Raises
    ------
    ParameterError
        There is no such class, it has no such argument or refuses a value, or it cannot score new rows.
    ExtraError
        PyOD, or a package that this class of it needs, is not installed.
    """
    kind = _class_of(name)
    known = _arguments(kind)
    if unknown := sorted(set(parameters) - set(known)):
        raise ParameterError(
            f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}."
        )
    if missing := sorted(_needed(kind) - {_WIDTH, *parameters}):
        raise ParameterError(f"{name} needs {', '.join(missing)}, which has no default.")
    tells_apart = issubclass(kind, ClassifierMixin)
    if "y" in _needed(kind.fit) and not tells_apart:
        raise ParameterError(
            f"{name} learns from rows of two kinds, which only classifiers of scikit-learn can do here."
        )
    quiet = {"verbose": 0} if "verbose" in known and name.startswith("pyod:") else {}
    defaults = {key: value for key, value in known.items() if key not in (*_SEEDS, *_needed(kind))}
    given = {**defaults, **quiet, **parameters}
    if _needed(kind) <= given.keys():
        with _guest(0):
            model = _made(name, kind, given)
        if name.startswith("sklearn:") and not (tells_apart or hasattr(model, "score_samples")):
            raise ParameterError(f"{name} cannot score new rows with these parameters; give novelty=True.")
    face = ForeignClassifier if tells_apart else Foreign
    return face(name, given, contamination=contamination, random_state=random_state)


def _made(name: str, kind: type[Any], given: Mapping[str, Any]) -> Any:
    try:
        return kind(**given)
    except ImportError as error:
        raise _missing(name, error) from error
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} refuses its parameters: {error}") from error


def _arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments that can be given by name, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {each.name: each.default for each in parameters if each.kind in named}


def _needed(function: Callable[..., Any]) -> set[str]:
    """Names of the arguments that have no default."""
    return {name for name, value in _arguments(function).items() if value is inspect.Parameter.empty}


def _class_of(name: str) -> type[Any]:
    library, _, wanted = name.partition(":")
    if library not in LIBRARIES:
        raise ParameterError(
            f"detector is {name!r}, but the part before the colon must be one of {', '.join(LIBRARIES)}."
        )
    return _pyod_class(wanted) if library == "pyod" else _sklearn_class(wanted)


def _sklearn_class(wanted: str) -> type[Any]:
    known = {name: kind for name, kind in all_estimators() if issubclass(kind, OutlierMixin)}
    classifiers = {
        name: kind
        for name, kind in all_estimators("classifier")
        if any(hasattr(kind, method) for method in ("decision_function", "predict_proba"))
    }
    if wanted in classifiers:
        return classifiers[wanted]
    if wanted not in known:
        near = get_close_matches(wanted, [*known, *classifiers], n=1)
        raise _unknown("sklearn", wanted, near, f"{', '.join(known)}, and classifiers")
    return known[wanted]


def _pyod_class(wanted: str) -> type[Any]:
    try:
        package = importlib.import_module("pyod.models")
    except ImportError as error:
        raise ExtraError(
            f"detector is 'pyod:{wanted}', but PyOD is not installed; pip install 'da3d[bench]'."
        ) from error
    modules = {
        _plain(module.name): module.name
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith(_OF_OTHER_THINGS)
    }
    near = get_close_matches(_plain(wanted), modules, n=1)
    try:
        with _guest(0):  # a module may seed the global generators when it is imported
            kinds = [kind for key in near for kind in _detectors_in(modules[key])]
    except ImportError as error:
        raise _missing(f"pyod:{near[0]}", error) from error
    names = [kind.__name__ for kind in kinds]
    if wanted not in names:
        raise _unknown("pyod", wanted, names, "the classes of pyod.models")
    return kinds[names.index(wanted)]


def _detectors_in(module: str) -> list[type[Any]]:
    """The class in a module of PyOD that has its name but for capitals and underscores, if there is one."""
    base = importlib.import_module("pyod.models.base").BaseDetector
    members = inspect.getmembers(importlib.import_module(f"pyod.models.{module}"), inspect.isclass)
    return [kind for name, kind in members if issubclass(kind, base) and _plain(name) == _plain(module)]


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _unknown(library: str, wanted: str, near: list[str], known: str) -> ParameterError:
    hint = f"did you mean '{library}:{near[0]}'?" if near else f"it has {known}."
    return ParameterError(
        f"detector is '{library}:{wanted}', but {library} has no such detector of rows; {hint}"
    )


def _missing(name: str, error: ImportError) -> ExtraError:
    return ExtraError(f"{name} needs a package that is not installed ({error}); install it first.")


@contextmanager
def _guest(seed: int) -> Iterator[None]:
    """Seed the global generators for foreign code, give them back, and keep standard output clean."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - foreign code draws from it
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with seeded(seed, device), redirect_stdout(sys.stderr):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
