"""Everything that can go wrong, as one tree.

::

    Da3dError                    any error of this library
    ├── InputError               the caller's mistake; the command line prints the sentence and exits with 2
    │   ├── ParameterError       an argument is out of its range
    │   ├── TableError           a table (or a file that should hold one) cannot be used
    │   │   └── SchemaError      a table's columns are not those seen at fit
    │   ├── LabelError           labels do not fit the rows or the task
    │   ├── FileError            a file cannot be read or written
    │   │   ├── UnavailableError a data set is not on this machine and cannot be fetched
    │   │   └── ModelFileError   a model file is damaged, foreign, newer or tampered with
    │   └── ExtraError           an optional dependency is not installed
    └── DivergenceError          training produced a non-finite loss and could not recover

    LabelWarning                 labels were given that mean nothing here

Every message says what was given, what is needed and what to do.
"""

__all__ = [
    "Da3dError",
    "DivergenceError",
    "ExtraError",
    "FileError",
    "InputError",
    "LabelError",
    "LabelWarning",
    "ModelFileError",
    "ParameterError",
    "SchemaError",
    "TableError",
    "UnavailableError",
]


class Da3dError(Exception):
    """Any error that this library raises on purpose."""


class InputError(Da3dError, ValueError):
    """The caller gave something that cannot be used."""


class ParameterError(InputError):
    """An argument is out of its range."""


class TableError(InputError):
    """A table, or a file that should hold one, cannot be used."""


class SchemaError(TableError):
    """A table's columns are not those seen at fit."""


class LabelError(InputError):
    """Labels do not fit the rows or the task."""


class FileError(InputError):
    """A file cannot be read or written."""


class UnavailableError(FileError):
    """A data set is not on this machine and cannot be fetched from here."""


class ModelFileError(FileError):
    """A model file is damaged, foreign, newer or tampered with."""


class ExtraError(InputError):
    """An optional dependency is not installed."""


class DivergenceError(Da3dError):
    """Training produced a non-finite loss and could not recover."""


class LabelWarning(UserWarning):
    """Labels were given that mean nothing here, and are ignored."""
