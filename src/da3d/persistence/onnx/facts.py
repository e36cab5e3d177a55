"""What an ONNX file of this library says about itself, read without onnx and without running anything."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from da3d.errors import FileError, ModelFileError

__all__ = ["FORMAT", "OUTPUTS", "PROPERTY", "decoded", "encoded", "inspect", "is_onnx", "read_facts"]

FORMAT = 1
PROPERTY = "da3d"
"""The entry of the file's metadata that holds everything, as JSON."""

OUTPUTS = ("anomaly_score", "p_value", "severity", "is_anomaly")

_METADATA = 14  # the field of an ONNX model that holds its metadata, of entries with key (1) and value (2)


def encoded(numbers: NDArray[np.float64]) -> str:
    """Numbers as text, to the last bit."""
    return base64.b64encode(numbers.astype("<f8").tobytes()).decode("ascii")


def decoded(text: str) -> NDArray[np.float64]:
    """The numbers that `encoded` wrote."""
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)


def is_onnx(path: str | Path) -> bool:
    """Whether a file is an ONNX model, by its content: a model file or a table is not.

    False if it does not exist or cannot be read, too.
    """
    try:
        return _properties(path) is not None
    except OSError:
        return False


def read_facts(path: str | Path) -> dict[str, Any]:
    """Return what `export` wrote about a model.

    Raises
    ------
    FileError
        The file does not exist or cannot be read.
    ModelFileError
        It is not an ONNX model, not one that this library wrote, damaged or newer.
    """
    try:
        properties = _properties(path)
    except FileNotFoundError as error:
        raise FileError(
            f"'{path}' does not exist; give the path of a file that da3d export wrote."
        ) from error
    except OSError as error:
        raise FileError(
            f"'{path}' cannot be read ({error.strerror or error}); give a file you may read."
        ) from error
    if properties is None:
        raise ModelFileError(
            f"'{path}' is not an ONNX model, or is damaged; give a file that da3d export wrote."
        )
    if PROPERTY not in properties:
        raise ModelFileError(
            f"'{path}' is an ONNX model of something else: it does not say which columns it wants; give a "
            "file that da3d export wrote."
        )
    return _checked(path, properties[PROPERTY])


def _checked(path: str | Path, text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
        written = int(facts["format"])
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(
            f"'{path}' is damaged: its metadata cannot be read; export the model again."
        ) from error
    if written > FORMAT:
        raise ModelFileError(
            f"'{path}' was written in format {written} by da3d {facts.get('version', '?')}, but this da3d "
            f"reads formats up to {FORMAT}; install a newer da3d."
        )
    return dict(facts)


def inspect(path: str | Path) -> dict[str, Any]:
    """Return what an ONNX file holds, ready for JSON; nothing in it is run.

    Returns
    -------
    dict
        ``path``, ``bytes``, ``format``, ``created`` (UTC), ``version`` (of da3d), ``kind`` ("onnx"),
        ``detector``, ``parameters``, ``source`` (digest of the model that was exported), ``inputs`` (name,
        column, kind and text for missing values of each), ``outputs``, ``ignored`` (column to reason),
        ``calibration_rows`` and ``threshold``.

    Raises
    ------
    FileError
        The file does not exist or cannot be read.
    ModelFileError
        It is not an ONNX model that this library wrote.
    """
    facts = read_facts(path)
    calibration = len(decoded(facts.pop("calibration")))
    shown = {name: value for name, value in facts.items() if name != "columns"}
    place = {"path": str(path), "bytes": Path(path).stat().st_size, "kind": "onnx"}
    return place | shown | {"calibration_rows": calibration}


# ---- protocol buffers, as far as needed: a file is a row of fields, each a number, a type and a content


def _properties(path: str | Path) -> dict[str, str] | None:
    """The metadata of an ONNX model; None if the file is none. Weights are skipped, not read."""
    found: dict[str, str] = {}
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        if file.read(1) != b"\x08":  # an ONNX model begins with its format's version
            return None
        file.seek(0)
        try:
            for field, content in _fields(file, size):
                if field == _METADATA:
                    entry = _texts(content)
                    found[entry[1]] = entry.get(2, "")
        except (EOFError, ValueError, KeyError):
            return None
    return found


def _fields(file: IO[bytes], size: int) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field; the content of large fields other than metadata is left out."""
    while file.tell() < size:
        key = _varint(file)
        field, kind = key >> 3, key & 7
        if kind == 0:
            _varint(file)
        elif kind == 2:
            length = _varint(file)
            if file.tell() + length > size:
                raise EOFError
            if field == _METADATA:
                yield field, file.read(length)
            else:
                file.seek(length, 1)
        else:
            raise ValueError(f"a field of type {kind}, which ONNX models do not have")


def _texts(content: bytes) -> Mapping[int, str]:
    file, out = io.BytesIO(content), {}
    while file.tell() < len(content):
        key = _varint(file)
        text = file.read(_varint(file))
        if key & 7 != 2 or file.tell() > len(content):
            raise ValueError("an entry of the metadata that is no text")
        out[key >> 3] = text.decode("utf-8")
    return out


def _varint(file: IO[bytes]) -> int:
    """A whole number, seven bits per byte, the lowest first; every byte but the last has its high bit set."""
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte or shift > 63:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
