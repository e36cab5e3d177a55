"""Bytes of a file or of standard input, with errors that say what to do."""

import gzip
import io
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from da3d.errors import FileError, TableError

HEAD_BYTES = 65_536


class Source:
    """Where a table's bytes come from.

    Parameters
    ----------
    path
        A file, compressed if its name ends in ``.gz``; or ``"-"`` for standard input.
    """

    def __init__(self, path: str | Path) -> None:
        self.is_stdin = str(path) == "-"
        self.name = "standard input" if self.is_stdin else f"'{path}'"
        self._path = Path(path)
        self._kept: IO[bytes] | None = None

    @property
    def suffix(self) -> str:
        """The file's kind by its name, in small letters and without ``.gz``; empty for standard input."""
        name = self._path.name.lower().removesuffix(".gz")
        return "" if self.is_stdin else Path(name).suffix

    def start(self) -> tuple[bytes, io.BufferedReader]:
        """Return the first bytes, up to a whole first line that is not blank, and the stream with all of them.

        Raises
        ------
        FileError
            The file cannot be read.
        TableError
            There is nothing in it, or it is not UTF-8 at its very beginning.
        """
        stream = self._open()
        head = b""
        while not (b"\n" in head.lstrip()) and len(head) < 64 * HEAD_BYTES:
            part = stream.read1(HEAD_BYTES) if hasattr(stream, "read1") else stream.read(HEAD_BYTES)
            if not part:
                break
            head += part
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise self.wrong_encoding("it is UTF-16")
        if not head.removeprefix(b"\xef\xbb\xbf").strip():
            raise TableError(f"{self.name} is empty: a table with a header and at least one row is needed")
        return head, io.BufferedReader(_Replay(head, stream), HEAD_BYTES)

    def keep(self) -> None:
        """Make `start` possible more than once: standard input is kept in a temporary file on disk."""
        if self.is_stdin and self._kept is None:
            self._kept = tempfile.TemporaryFile()  # noqa: SIM115  (closed when this source is forgotten)
            while part := sys.stdin.buffer.read(1 << 20):
                self._kept.write(part)

    def wrong_encoding(self, what: str) -> TableError:
        """Return the error for a file that is not UTF-8."""
        return TableError(
            f"{self.name} is not UTF-8 text ({what}): save it with the encoding UTF-8 (in a spreadsheet choose "
            "'CSV UTF-8'; on a command line: iconv -f LATIN1 -t UTF-8)"
        )

    def damaged(self, error: object) -> TableError:
        """Return the error for a file whose content cannot be read."""
        said = str(error).strip().splitlines() or ["no more is known"]
        return TableError(f"{self.name} is damaged or not what its name says ({said[0]}): write it again")

    def _open(self) -> IO[bytes]:
        if self._kept is not None:
            self._kept.seek(0)
            return self._kept
        if self.is_stdin:
            return sys.stdin.buffer
        if self._path.is_dir():
            raise FileError(f"{self.name} is a folder: give a file, or a folder of .parquet files")
        try:
            stream = self._path.open("rb")
        except FileNotFoundError as error:
            raise FileError(f"there is no file {self.name}: check the path") from error
        except OSError as error:
            raise FileError(f"{self.name} cannot be read ({error.strerror}): check its permissions") from error
        return gzip.open(stream) if self._path.name.lower().endswith(".gz") else stream


class _Replay(io.RawIOBase):
    """A stream whose first bytes were already taken from it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        part = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(part) :] if self._head else b""
        buffer[: len(part)] = part
        return len(part)
