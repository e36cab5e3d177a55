"""Where the files of data sets lie, and how they get there.

A file is looked for in the folder named by the environment variable ``DA3D_DATA`` and then in the cache
folder (``DA3D_CACHE``, or the user's cache as the operating system has it). Only then is the official file
downloaded, to a temporary name first, and kept only if it proves to be the right one: by its SHA-256 where
that is known, and always by what its reader finds in it. Where no SHA-256 is known, that of the first
download is remembered in a file beside it, and from then on every copy is held to it.

``DA3D_DATA`` may hold a ``MANIFEST.json`` of the form ``{"files": [{"name": ..., "sha256": ...}, ...]}``;
every file that it lists is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

from da3d.errors import FileError, UnavailableError

__all__ = [
    "RemoteFile",
    "by_hand",
    "cache_folder",
    "data_folder",
    "find",
    "official",
    "officials",
    "only_prepared",
    "prepared",
]

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
        Where it is downloaded from.
    sha256 : str or None
        Its digest in hexadecimal; None where no official one is known, and then its content is checked
        instead.
    bytes : int or None
        Its size, where known.
    save_as : str or None
        The file's name on disk, which may have a folder; None for the last part of the address.
    """

    url: str
    sha256: str | None = None
    bytes: int | None = None
    save_as: str | None = None

    @property
    def name(self) -> str:
        """The file's name on disk."""
        return self.save_as or PurePosixPath(urlsplit(self.url).path).name


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


def only_prepared(names: Sequence[str]) -> tuple[Path, ...]:
    """As `prepared`, for files that no server has.

    Raises
    ------
    UnavailableError
        They are not here.
    FileError
        As in `prepared`.
    """
    paths = prepared(names)
    if paths is None:
        raise UnavailableError(
            f"{' and '.join(names)} cannot be downloaded anywhere; set {DATA_VARIABLE} to a folder that has "
            "what was prepared."
        )
    return paths


def by_hand(names: Sequence[str], page: str) -> tuple[Path, ...]:
    """Paths of files that only a person can fetch, checked as by `prepared`.

    Parameters
    ----------
    names : sequence of str
        The files.
    page : str
        URL of the page a person gets them from.

    Raises
    ------
    UnavailableError
        They are not here.
    FileError
        As in `prepared`.
    """
    paths = prepared(names)
    if paths is None:
        raise UnavailableError(
            f"{' and '.join(names)} cannot be downloaded by a program. Get them by hand from {page} and put "
            f"them into {cache_folder()}, or set {DATA_VARIABLE} to a folder that has them."
        )
    return paths


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
    UnavailableError
        The file cannot be downloaded.
    FileError
        It is damaged, or cannot be stored.
    """
    return officials((remote,), page, lambda paths: read(paths[0]))


def officials(remotes: Sequence[RemoteFile], page: str, read: Callable[[tuple[Path, ...]], T]) -> T:
    """What `read` makes of several official files together; otherwise as `official`."""
    here = {remote: found[0] for remote in remotes if (found := find([remote.name])) is not None}
    for remote, path in here.items():
        if (known := _known_digest(remote)) is not None:
            _check_digest(path, known, f"delete it and load again{_unless_changed(remote)}")
    fresh = {remote: _download(remote, page) for remote in remotes if remote not in here}
    try:
        content = read(tuple((here | fresh)[remote] for remote in remotes))
    except FileError:
        for path in fresh.values():
            path.unlink(missing_ok=True)
        raise
    for remote, path in fresh.items():
        if remote.sha256 is None:
            _digest_beside(remote).write_text(f"{_digest(path)}\n", encoding="ascii")
    return content


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
    advice = (
        f"Get it by hand from {page} and put it into {folder} as {remote.name}, "
        f"or set {DATA_VARIABLE} to a folder that has it."
    )
    logger.info("Downloading %s to %s.", remote.url, folder)
    digest = _known_digest(remote)
    try:
        (folder / remote.name).parent.mkdir(parents=True, exist_ok=True)
        downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=False)
        with _quiet(pooch.get_logger()):
            known = None if digest is None else f"sha256:{digest}"
            fetched = pooch.retrieve(
                remote.url, known_hash=known, fname=remote.name, path=folder, downloader=downloader
            )
    except ValueError as error:  # what pooch raises for a wrong digest; its connection errors are OSError
        raise FileError(
            f"{remote.url} did not deliver the file expected (SHA-256 {digest}){_unless_changed(remote)}. "
            f"{advice}"
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"{remote.url} could not be downloaded ({type(error).__name__}). {advice}"
        ) from error
    path = Path(fetched)
    if remote.bytes is not None and path.stat().st_size != remote.bytes:
        size = path.stat().st_size
        path.unlink()
        raise FileError(f"{remote.url} delivered {size} bytes instead of {remote.bytes}. {advice}")
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


def _digest_beside(remote: RemoteFile) -> Path:
    """Where the digest of the first download is remembered."""
    path = cache_folder() / remote.name
    return path.with_name(f"{path.name}.sha256")


def _known_digest(remote: RemoteFile) -> str | None:
    """The official SHA-256, or that of the first download."""
    beside = _digest_beside(remote)
    if remote.sha256 is not None or not beside.is_file():
        return remote.sha256
    return beside.read_text(encoding="ascii").strip()


def _unless_changed(remote: RemoteFile) -> str:
    """The remark that a remembered digest, unlike an official one, may be outdated."""
    if remote.sha256 is not None:
        return ""
    return f" (if the publisher has changed the file, delete {_digest_beside(remote)} as well)"


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error


def _check_digest(path: Path, expected: str, remedy: str) -> None:
    """Refuse a file whose content is not the expected one."""
    found = _digest(path)
    if found != expected.lower():
        raise FileError(f"{path} is damaged: its SHA-256 is {found}, not {expected}; {remedy}.")
