"""A model file is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from da3d.errors import FileError
from da3d.preprocessing import atomic_path

__all__ = ["write_whole"]


def write_whole(content: bytes, path: str | Path) -> Path:
    """Put bytes where nothing or an earlier file lies, on the disk before it is replaced.

    Raises
    ------
    FileError
        The folder does not exist or cannot be written, or the disk is full. A file at `path` is as it was.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FileError(
            f"'{path}' was not written ({error.strerror or error}); choose another place or try again."
        ) from error
    return Path(path)
