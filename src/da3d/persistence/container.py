"""The zip around a model: members stored as they are, always in the same bytes, with a seal at the end.

Members are stored, not deflated: weights hardly shrink, a stored member cannot grow when it is read (no zip
bomb), and its size is known before a byte of it is touched. Dates, modes and order are fixed, so that the
same content always makes the same file. The seal is the zip's comment, so that any tool can open the zip: it
holds the SHA-256 of every byte before it and so finds a changed byte anywhere, in the zip's own tables too.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from da3d.errors import FileError, ModelFileError

__all__ = ["SEAL", "read_sealed", "unzipped", "zipped"]

SEAL = b"da3d model sha256="
"""Opens the zip's comment; the digest of every byte before the digest follows."""

_DIGITS = 64  # of a SHA-256 in hexadecimal
_TAIL = len(SEAL) + _DIGITS
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_NAME = slice(30, 30 + len(b"manifest.json"))  # where a zip holds its first member's name
_AGAIN = "get the file again from where it came, or save the model again"


def zipped(members: Mapping[str, bytes], *, sealed: bool = False) -> bytes:
    """Return a zip of stored members in the given order, always the same for the same content.

    Parameters
    ----------
    members : mapping of str to bytes
    sealed : bool
        Whether the zip ends with `SEAL` and the SHA-256 of everything before it.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content)
        if sealed:
            archive.comment = SEAL + b"0" * _DIGITS
    content = buffer.getvalue()
    return content[:-_DIGITS] + _digest(content) if sealed else content


def unzipped(content: bytes, what: str) -> dict[str, bytes]:
    """Return the members of a zip in their order.

    Parameters
    ----------
    content : bytes
    what : str
        How an error calls the zip.

    Raises
    ------
    ModelFileError
        It is not a zip, or not one that `zipped` writes: a member is compressed, encrypted, there twice,
        larger than the whole, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            sizes = sum(entry.file_size for entry in entries)
            plain = all(
                entry.compress_type == zipfile.ZIP_STORED
                and entry.compress_size == entry.file_size
                and not entry.flag_bits & 0x1
                for entry in entries
            )
            if plain and len(names) == len(entries) and sizes <= len(content):
                return {entry.filename: archive.read(entry) for entry in entries}
    except Exception as error:  # zipfile raises nearly anything on a forged archive
        raise ModelFileError(f"{what} is not a sound zip archive ({error}); {_AGAIN}.") from error
    raise ModelFileError(
        f"{what} holds members that da3d never writes (compressed, repeated or oversized); {_AGAIN}."
    )


def read_sealed(path: str | Path) -> bytes:
    """Return the bytes of a sealed zip, unchanged since they were written.

    The first and the last bytes are looked at before the whole is read, so that a large file of another kind
    costs nothing.

    Raises
    ------
    FileError
        The file does not exist or cannot be read.
    ModelFileError
        It is not a model file, or not all of it, or not as it was written.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_NAME.stop)
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - _TAIL))
            _check_ends(path, head, file.read())
            file.seek(0)
            content = file.read()
    except FileNotFoundError as error:
        raise FileError(
            f"'{path}' does not exist; give the path of a model file that da3d.save wrote."
        ) from error
    except OSError as error:
        raise FileError(
            f"'{path}' cannot be read ({error.strerror or error}); give a file you may read."
        ) from error
    if content[-_DIGITS:] != _digest(content):
        raise ModelFileError(f"'{path}' is damaged: its bytes are not those that were written; {_AGAIN}.")
    return content


def _check_ends(path: str | Path, head: bytes, tail: bytes) -> None:
    if not head:
        raise ModelFileError(f"'{path}' is empty; {_AGAIN}.")
    if head.startswith(_PICKLE):
        raise ModelFileError(
            f"'{path}' is a pickle, which can run any code when it is opened and so is never opened; "
            "give a file that da3d.save wrote."
        )
    if not head.startswith(_ZIP):
        raise ModelFileError(
            f"'{path}' is not a model file, or is damaged at its very beginning; "
            "give a file that da3d.save wrote."
        )
    if tail.startswith(SEAL):
        return
    if head[_NAME] != b"manifest.json":
        raise ModelFileError(
            f"'{path}' is a zip archive of something else, not a model file; "
            "give a file that da3d.save wrote."
        )
    raise ModelFileError(
        f"'{path}' is cut short or damaged at its end (its closing seal is missing); {_AGAIN}."
    )


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(memoryview(content)[:-_DIGITS]).hexdigest().encode("ascii")
