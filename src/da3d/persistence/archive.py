"""A model file's members: the manifest, the arrays, the scikit-learn objects.

::

    manifest.json        everything that is text or a single number; size and SHA-256 of the other members
    arrays.safetensors   detector/<name>; of a pipeline also calibration/..., reference/rows, profile/... and
                         suppression/...
    encoder.skops        the ColumnTransformer of a pipeline's encoder
    detector/*.skops     scikit-learn objects of a detector, such as isolation-forest's forest

The digests find damage, not forgery: nothing is signed, and whoever can write a file can also compute its
digests. What protects against a forged file is that reading it runs no code: JSON, safetensors, and skops
restricted to named classes (`persistence.estimators`). Its scores are still its author's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from da3d.errors import ModelFileError, ParameterError
from da3d.persistence.container import read_sealed, unzipped, zipped
from da3d.persistence.manifest import Manifest, Member

__all__ = [
    "ARRAYS",
    "ENCODER",
    "MANIFEST",
    "described",
    "estimator_member",
    "members_of",
    "pack",
    "read_arrays",
    "unpack",
]

Arrays = dict[str, NDArray[Any]]

MANIFEST, ARRAYS, ENCODER = "manifest.json", "arrays.safetensors", "encoder.skops"
_KINDS = "fiub"  # floats, integers, booleans: what safetensors and numpy share


def estimator_member(name: str) -> str:
    """Return where a detector's scikit-learn object of that name lies."""
    return f"detector/{name}.skops"


def members_of(arrays: Mapping[str, NDArray[Any]], estimators: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return all members but the manifest, in their order.

    Raises
    ------
    ParameterError
        An array holds something else than floats, integers or booleans.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            raise ParameterError(
                f"the array {name} has dtype {array.dtype}, which a model file cannot hold; "
                "floats, integers and booleans are needed."
            )
    dense = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    return {ARRAYS: safetensors.numpy.save(dense), **{name: estimators[name] for name in sorted(estimators)}}


def described(members: Mapping[str, bytes]) -> dict[str, Member]:
    """Return size and digest of each member."""
    return {
        name: Member(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in members.items()
    }


def pack(manifest: Manifest, members: Mapping[str, bytes]) -> bytes:
    """Return the bytes of a model file; `members` are those that `manifest` describes."""
    return zipped({MANIFEST: manifest.to_bytes(), **members}, sealed=True)


def unpack(path: str | Path) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest of a model file and its other members, all as they were written.

    Raises
    ------
    FileError
        The file does not exist or cannot be read.
    ModelFileError
        It is damaged, foreign, newer or tampered with. Nothing has been built from it then.
    """
    members = unzipped(read_sealed(path), f"'{path}'")
    if next(iter(members), None) != MANIFEST:
        raise ModelFileError(
            f"'{path}' is not a model file: it has no manifest; give a file that da3d.save wrote."
        )
    manifest = Manifest.from_bytes(members.pop(MANIFEST), path)
    if list(members) != list(manifest.members):
        odd = sorted(members.keys() ^ manifest.members.keys()) or list(members)
        raise ModelFileError(
            f"'{path}' was tampered with: its members are not those of its manifest ({', '.join(odd[:5])}); "
            "save the model again."
        )
    if wrong := [name for name, found in described(members).items() if found != manifest.members[name]]:
        raise ModelFileError(
            f"'{path}' was tampered with: {', '.join(wrong)} is not what its manifest describes; "
            "save the model again."
        )
    return manifest, members


def read_arrays(content: bytes, path: str | Path) -> Arrays:
    """Return the arrays that `members_of` stored, each in memory of its own.

    Raises
    ------
    ModelFileError
        The content is not safetensors; the sentence names `path`.
    """
    try:
        found = safetensors.numpy.load(content)
    except Exception as error:  # safetensors' own errors, and numpy's for types that it does not know
        raise ModelFileError(f"'{path}' is damaged: its arrays cannot be read ({error}).") from error
    return {name: np.array(array) for name, array in found.items()}
