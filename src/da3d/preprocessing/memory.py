"""Amounts of memory: what a user writes, and what the machine has."""

import os
import re
from pathlib import Path

from da3d.errors import ParameterError

__all__ = ["default_ceiling", "machine_memory", "memory_size", "spelled"]

_SHARE, _LEAST = 4, 1 << 30
_UNKNOWN = 8 << 30
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {f"{name}i": 2 ** (10 * power) for power, name in enumerate("kmgt", start=1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?", re.IGNORECASE)


def memory_size(given: str | int) -> int:
    """Return an amount of memory in bytes.

    Parameters
    ----------
    given
        Bytes, or a number with a unit: ``"2GiB"``, ``"1.5 GB"``, ``"800M"``. KiB, MiB, GiB and TiB count in
        steps of 1024; KB, MB, GB and TB, also without the B, in steps of 1000.

    Raises
    ------
    ParameterError
        It is no such amount, or not above 0.
    """
    found = None if isinstance(given, bool) else _SIZE.fullmatch(str(given).strip())
    size = 0 if found is None else int(float(found[1]) * _UNITS[found[2].lower()])
    if size < 1:
        raise ParameterError(
            f"the memory is {given!r} but must be a number above 0 with a unit, such as 2GiB or 800MB."
        )
    return size


def machine_memory() -> int:
    """The bytes of memory that this machine has, or the container in which we run where that has less.

    8 GiB where the system does not say.
    """
    amounts = [int(text) for path in _LIMITS if (text := _content(path)).isdigit()]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        amounts.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min((amount for amount in amounts if amount > 0), default=_UNKNOWN)


def default_ceiling() -> int:
    """What a fit may take where the user sets no limit: a quarter of the machine, but at least 1 GiB."""
    return max(machine_memory() // _SHARE, _LEAST)


def spelled(size: int) -> str:
    """An amount of memory in words, such as ``1.5 GiB``, rounded up so that it may be given as a limit."""
    unit, name = (1 << 30, "GiB") if size >= 1 << 30 else (1 << 20, "MiB")
    tenths = -(-size * 10 // unit)
    return f"{tenths / 10:g} {name}"


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""  # no such limit here
