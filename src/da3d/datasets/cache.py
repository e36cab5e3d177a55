"""Where the files of data sets lie, and how they get there.

A file is looked for in the folder named by the environment variable ``DA3D_DATA`` and then in the cache
folder (``DA3D_CACHE``, or the user's cache as the operating system has it). Only then is the official file
downloaded, to a temporary name first, and kept only if it proves to be the right one: by its SHA-256 where
that is known, and always by what its reader finds in it.

``DA3D_DATA`` may hold a ``MANIFEST.json`` of the form ``{"files": [{"name": ..., "sha256": ...}, ...]}``;
every file that it lists is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

from da3d.errors import FileError

__all__ = ["RemoteFile", "cache_folder", "data_folder", "find", "official", "prepared"]

DATA_VARIABLE = "DA3D_DATA"
CACHE_VARIABLE = "DA3D_CACHE"
MANIFEST = "MANIFEST.json"
TIMEOUT = 30.0  # seconds without an answer before a download is given up

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """An official file on its server.

    Parameters
    ----------
    url : str
        Where it is downloaded from; the last part of its path is the file's name on disk.
    sha256 : str or None
        Its digest in hexadecimal; None where no official one is known, and then its content is checked
        instead.
    bytes : int or None
        Its size, where known.
    """

    url: str
    sha256: str | None = None
    bytes: int | None = None

    @property
    def name(self) -> str:
        """The file's name on disk."""
        return PurePosixPath(urlsplit(self.url).path).name


def data_folder() -> Path | None:
    """The folder named by ``DA3D_DATA``, or None when the variable is unset or empty.

    Raises
    ------
    FileError
        The variable names something that is not a folder.
    """
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise FileError(
            f"{DATA_VARIABLE} names {folder}, which is not a folder; correct the variable or unset it."
        )
    return folder


def cache_folder() -> Path:
    """The folder that downloads are kept in; it need not exist yet."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("da3d"))


def find(names: Iterable[str]) -> tuple[Path, ...] | None:
    """Paths of the files in the first folder that has all of them; unchecked; None when no folder has."""
    wanted = tuple(names)
    folder = _folder_with(wanted)
    return None if folder is None else tuple(folder / name for name in wanted)


def prepared(names: Iterable[str]) -> tuple[Path, ...] | None:
    """As `find`, with every file checked against the manifest of its folder, if there is one.

    Raises
    ------
    FileError
        A file's SHA-256 is not the one in the manifest, or the manifest cannot be read.
    """
    wanted = tuple(names)
    folder = _folder_with(wanted)
    if folder is None:
        return None
    digests = _manifest_digests(folder / MANIFEST)
    for name in wanted:
        if name in digests:
            remedy = f"fetch it again, or correct its entry in {folder / MANIFEST}"
            _check_digest(folder / name, digests[name], remedy)
    return tuple(folder / name for name in wanted)


def official(remote: RemoteFile, page: str, read: Callable[[Path], T]) -> T:
    """What `read` makes of an official file, found on this machine or downloaded.

    A fresh download that `read` refuses is deleted again, so that the next attempt starts clean.

    Parameters
    ----------
    remote : RemoteFile
        The file.
    page : str
        URL of the page a person would get it from, for the message when the download fails.
    read : callable
        Reads the file at a path; raises FileError when it is not what it should be.

    Raises
    ------
    FileError
        The file is damaged, or cannot be downloaded or stored.
    """
    here = find([remote.name])
    if here is not None:
        if remote.sha256 is not None:
            _check_digest(here[0], remote.sha256, "delete it and load again")
        return read(here[0])
    fresh = _download(remote, page)
    try:
        return read(fresh)
    except FileError:
        fresh.unlink(missing_ok=True)
        raise


def _folder_with(names: tuple[str, ...]) -> Path | None:
    """The first folder in which all of the files lie."""
    for folder in (data_folder(), cache_folder()):
        if folder is not None and names and all((folder / name).is_file() for name in names):
            return folder
    return None


def _download(remote: RemoteFile, page: str) -> Path:
    """Fetch a file into the cache folder; nothing is left behind unless size and digest are right."""
    import pooch

    folder = cache_folder()
    by_hand = (
        f"Get it by hand from {page} and put it into {folder} as {remote.name}, "
        f"or set {DATA_VARIABLE} to a folder that has it."
    )
    logger.info("Downloading %s to %s.", remote.url, folder)
    known = None if remote.sha256 is None else f"sha256:{remote.sha256}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=False)
        with _quiet(pooch.get_logger()):
            fetched = pooch.retrieve(
                remote.url, known_hash=known, fname=remote.name, path=folder, downloader=downloader
            )
    except ValueError as error:  # what pooch raises for a wrong digest; its connection errors are OSError
        raise FileError(
            f"{remote.url} did not deliver the file expected (SHA-256 {remote.sha256}). {by_hand}"
        ) from error
    except OSError as error:
        raise FileError(
            f"{remote.url} could not be downloaded ({type(error).__name__}). {by_hand}"
        ) from error
    path = Path(fetched)
    if remote.bytes is not None and path.stat().st_size != remote.bytes:
        size = path.stat().st_size
        path.unlink()
        raise FileError(f"{remote.url} delivered {size} bytes instead of {remote.bytes}. {by_hand}")
    return path


@contextmanager
def _quiet(noisy: logging.Logger) -> Iterator[None]:
    """Keep another library's messages below warnings to itself for a moment."""
    before = noisy.level
    noisy.setLevel(logging.WARNING)
    try:
        yield
    finally:
        noisy.setLevel(before)


def _manifest_digests(path: Path) -> dict[str, str]:
    """SHA-256 by file name, empty without a manifest."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(entry["name"]): str(entry["sha256"]) for entry in content["files"] if "sha256" in entry}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f'{path} cannot be read as {{"files": [{{"name": ..., "sha256": ...}}]}}; correct or remove it.'
        ) from error


def _check_digest(path: Path, expected: str, remedy: str) -> None:
    """Refuse a file whose content is not the expected one."""
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    if found != expected.lower():
        raise FileError(f"{path} is damaged: its SHA-256 is {found}, not {expected}; {remedy}.")
