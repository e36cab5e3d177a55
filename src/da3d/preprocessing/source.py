"""Bytes of a file or of standard input, with errors that say what to do."""

import codecs
import gzip
import io
import select
import shutil
import sys
import tempfile
import weakref
import zlib
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

from da3d.errors import FileError, TableError

HEAD_BYTES = 65_536
_MOMENT = 0.05  # seconds without a byte after which `Prompt` hands over what there is


class Source:
    """Where a table's bytes come from.

    Parameters
    ----------
    path
        A file, compressed if its name ends in ``.gz``; or ``"-"`` for standard input.

    Attributes
    ----------
    is_stdin : bool
    is_stream : bool
        Whether its bytes come but once: standard input or a named pipe.
    name : str
        What to call it in a message.
    """

    def __init__(self, path: str | Path) -> None:
        self.is_stdin = str(path) == "-"
        self.is_stream = self.is_stdin or is_pipe(path)
        self.name = "standard input" if self.is_stdin else f"'{path}'"
        self._path = Path(path)
        self._kept: IO[bytes] | None = None
        self._peeked = b""

    @property
    def suffix(self) -> str:
        """The file's kind by its name, in small letters and without ``.gz``; empty for standard input."""
        name = self._path.name.lower().removesuffix(".gz")
        return "" if self.is_stdin else Path(name).suffix

    def start(self) -> tuple[bytes, io.BufferedReader]:
        """Return the first bytes, up to a first line that is not blank, and the stream with all of them.

        Raises
        ------
        FileError
            The file cannot be read.
        TableError
            There is nothing in it, or it is not UTF-8 at its very beginning.
        """
        stream = self._open()
        shared = self.is_stdin or stream is self._kept
        try:
            head = self._head(stream)
        except BaseException:
            if not shared:
                stream.close()
            raise
        return head, io.BufferedReader(_Replay(head, stream, shared=shared), HEAD_BYTES)

    def peek(self) -> bytes:
        """Return what `start` will return as the first bytes, without taking them from the stream."""
        head, stream = self.start()
        stream.close()
        if self.is_stdin and self._kept is None:
            self._peeked = head
        return head

    def keep(self) -> None:
        """Make `start` possible more than once: a stream is kept in a temporary file on disk.

        Raises
        ------
        FileError
            It cannot be read.
        TableError
            It is damaged.
        """
        if not self.is_stream or self._kept is not None:
            return
        stream = self._open()
        kept = tempfile.TemporaryFile()  # noqa: SIM115  (closed when this source is forgotten)
        weakref.finalize(self, kept.close)
        kept.write(self._peeked)
        self._peeked = b""
        try:
            shutil.copyfileobj(stream, kept, 1 << 20)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise self.damaged(error) from error
        finally:
            if not self.is_stdin:
                stream.close()
        self._kept = kept

    def wrong_encoding(self, what: str) -> TableError:
        """Return the error for a file that is not UTF-8."""
        return TableError(
            f"{self.name} is not UTF-8 text ({what}): save it with the encoding UTF-8 (in a spreadsheet "
            "choose 'CSV UTF-8'; on a command line: iconv -f LATIN1 -t UTF-8)"
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
        opened = gzip.open if self._path.name.lower().endswith(".gz") else open
        try:
            return opened(self._path, "rb")  # type: ignore[return-value]  # both have all methods of one
        except FileNotFoundError as error:
            raise FileError(f"there is no file {self.name}: check the path") from error
        except OSError as error:
            raise FileError(
                f"{self.name} cannot be read ({error.strerror}): check its permissions"
            ) from error

    def _head(self, stream: IO[bytes]) -> bytes:
        head, self._peeked = self._peeked, b""
        while b"\n" not in head.lstrip() and len(head) < 64 * HEAD_BYTES:
            part = self._read(stream)
            if not part:
                break
            head += part
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise self.wrong_encoding("it is UTF-16")
        if not head.removeprefix(codecs.BOM_UTF8).strip():
            raise TableError(f"{self.name} is empty: a table with a header and at least one row is needed")
        return head

    def _read(self, stream: IO[bytes]) -> bytes:
        try:
            return stream.read1(HEAD_BYTES) if isinstance(stream, _Read1) else stream.read(HEAD_BYTES)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise self.damaged(error) from error


class _Replay(io.RawIOBase):
    """A stream whose first bytes were already taken from it."""

    def __init__(self, head: bytes, rest: IO[bytes], *, shared: bool) -> None:
        self._head = head
        self._rest = rest
        self._shared = shared

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._rest.fileno()

    def readinto(self, buffer: Any) -> int:
        part = self._head[: len(buffer)]
        self._head = self._head[len(part) :]
        if not part:
            rest = self._rest
            part = rest.read1(len(buffer)) if isinstance(rest, _Read1) else rest.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self._shared:
            self._rest.close()
        super().close()


class Prompt(io.RawIOBase):
    """Bytes as they come: what is read ends with a line when nothing follows it for a moment.

    Parameters
    ----------
    stream
        Where the bytes come from. Nothing ends early unless it is a file or pipe of the operating system.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """Whether bytes can be read: always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at least one byte, but at the end, and at most so many."""
        found = bytearray()
        while len(found) < size and (part := self._stream.read1(size - len(found))):
            found += part
            if found.endswith(b"\n") and found.count(b'"') % 2 == 0 and self._is_quiet():
                break  # not within a quoted field, of which a line's end may be part
        return bytes(found)

    def _is_quiet(self) -> bool:
        try:
            return not select.select([self._stream], [], [], _MOMENT)[0]
        except (OSError, ValueError):  # not of the operating system, or no pipe that it can wait for
            return False


def is_pipe(path: str | Path) -> bool:
    """Whether a path is that of a named pipe; what cannot be looked at is none."""
    try:
        return Path(path).is_fifo()
    except OSError:
        return False


@runtime_checkable
class _Read1(Protocol):
    """A stream that can return what there is without waiting for more."""

    def read1(self, size: int, /) -> bytes: ...
