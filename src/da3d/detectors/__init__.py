"""One paper, one file: the maths, the module, its schedule, the estimator."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from da3d.detectors.a3 import A3
from da3d.detectors.base import Detector, known_anomalies
from da3d.detectors.classic import ECOD, IsolationForest, OneClassSVM
from da3d.detectors.da3d import DA3D
from da3d.detectors.da3d_presets import EVIDENCE, Preset
from da3d.detectors.dagmm import DAGMM
from da3d.detectors.deep_svdd import DeepSAD, DeepSVDD
from da3d.detectors.devnet import DevNet
from da3d.detectors.fencegan import FenceGAN
from da3d.detectors.foreign import Foreign, is_foreign, make_foreign
from da3d.detectors.network import NetworkDetector
from da3d.detectors.reconstruction import AAE, AE, VAE
from da3d.detectors.reference import KNN, LOF, MCD, PCA, BaggedNN, Mahalanobis
from da3d.errors import ParameterError

__all__ = [
    "A3",
    "AAE",
    "AE",
    "DA3D",
    "DAGMM",
    "DETECTORS",
    "ECOD",
    "EVIDENCE",
    "KNN",
    "LOF",
    "MCD",
    "PCA",
    "VAE",
    "BaggedNN",
    "DeepSAD",
    "DeepSVDD",
    "Detector",
    "DevNet",
    "FenceGAN",
    "Foreign",
    "IsolationForest",
    "Mahalanobis",
    "NetworkDetector",
    "OneClassSVM",
    "default_detector",
    "is_foreign",
    "known_anomalies",
    "make_detector",
    "unknown_detector",
]

DETECTORS: dict[str, type[Detector]] = {
    "da3d": DA3D,
    "a3": A3,
    "knn": KNN,
    "bagged-nn": BaggedNN,
    "mahalanobis": Mahalanobis,
    "mcd": MCD,
    "isolation-forest": IsolationForest,
    "lof": LOF,
    "ocsvm": OneClassSVM,
    "pca": PCA,
    "ecod": ECOD,
    "autoencoder": AE,
    "adversarial-autoencoder": AAE,
    "vae": VAE,
    "dagmm": DAGMM,
    "devnet": DevNet,
    "fencegan": FenceGAN,
    "deep-svdd": DeepSVDD,
    "deep-sad": DeepSAD,
}
"""Every detector by the name that the command line, experiments and model files use."""

_QUALITIES: Mapping[str, Preset] = {"fast": "fast", "balanced": "default"}


def make_detector(name: str, **parameters: Any) -> Detector:
    """The unfitted detector of that name.

    Parameters
    ----------
    name : str
        A key of `DETECTORS`, or ``"pyod:CLASS"`` or ``"sklearn:CLASS"`` for one of another library.
    **parameters
        Arguments of its constructor.

    Raises
    ------
    ParameterError
        There is no such detector, or it has no such parameter.
    ExtraError
        It is a detector of PyOD, which is not installed.
    """
    if is_foreign(name):
        return make_foreign(name, **parameters)
    if name not in DETECTORS:
        raise unknown_detector(name, DETECTORS)
    known = DETECTORS[name]().get_params()
    if unknown := sorted(set(parameters) - set(known)):
        raise ParameterError(
            f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}."
        )
    return DETECTORS[name](**parameters)


def unknown_detector(name: str, known: Iterable[str]) -> ParameterError:
    """The error for a name that is none of those known."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return ParameterError(f"detector is {name!r} but must be one of {', '.join(names)}{hint}")


def default_detector(quality: str = "balanced") -> DA3D:
    """The detector that `AnomalyPipeline` and `da3d fit` use unless told otherwise.

    Parameters
    ----------
    quality : {"fast", "balanced"}
        ``"fast"`` leaves out everything that a network has to be trained for.

    Raises
    ------
    ParameterError
        There is no such quality.
    """
    if quality not in _QUALITIES:
        raise ParameterError(f"quality is {quality!r} but must be one of {', '.join(_QUALITIES)}.")
    return DA3D(_QUALITIES[quality])
