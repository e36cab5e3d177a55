"""The state of an unfinished fit, in memory and on disk."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from da3d.errors import FileError

__all__ = ["Checkpoint", "Snapshot"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Copies of all tensors that decide how training goes on, and the plain values beside them."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix/`, without it."""
        return {
            k.removeprefix(prefix + "/"): v for k, v in self.tensors.items() if k.startswith(prefix + "/")
        }


class Checkpoint:
    """A file that holds the latest snapshot of one particular fit.

    Parameters
    ----------
    path : Path
    fingerprint : str
        Digest of the data, the parameters and the seed: a file of another fit is refused.
    every : float
        Least seconds between two writes.
    """

    def __init__(self, path: Path, fingerprint: str, every: float = 30.0) -> None:
        self.path, self.fingerprint, self.every = path, fingerprint, every
        self._written = time.monotonic()

    def read(self) -> Snapshot | None:
        """The snapshot to continue from, or None if there is no file yet.

        Raises
        ------
        FileError
            The file is damaged, or belongs to a fit with other data, parameters or seed.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["da3d"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            if header["format"] != _FORMAT:
                raise KeyError("format")
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise FileError(
                f"Checkpoint {self.path} cannot be read as one of this version of da3d. Delete it to start "
                "over."
            ) from error
        if header["fingerprint"] != self.fingerprint:
            raise FileError(
                f"Checkpoint {self.path} belongs to a fit with other data, parameters or seed. Delete it to "
                "start over, or name another file."
            )
        return Snapshot(tensors, header["meta"])

    def offer(self, snapshot: Snapshot) -> None:
        """Write the snapshot if the last write is long enough ago."""
        if time.monotonic() - self._written >= self.every:
            self.write(snapshot)

    def write(self, snapshot: Snapshot) -> None:
        """Write the snapshot whole, or leave the file as it was."""
        header = {"format": _FORMAT, "fingerprint": self.fingerprint, "meta": snapshot.meta}
        temporary = self.path.with_name(self.path.name + ".tmp")
        tensors = {key: value.cpu().contiguous() for key, value in snapshot.tensors.items()}
        try:
            save_file(tensors, temporary, {"da3d": json.dumps(header)})
            os.replace(temporary, self.path)  # noqa: PTH105 - one call, atomic
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            raise FileError(f"Checkpoint {self.path} cannot be written: {error}.") from error
        self._written = time.monotonic()

    def remove(self) -> None:
        """Delete the file once the fit has ended."""
        self.path.unlink(missing_ok=True)
