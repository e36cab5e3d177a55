"""Model files and what is written, as commands use them."""

from pathlib import Path
from typing import TYPE_CHECKING

from da3d.cli.terminal import Terminal
from da3d.errors import FileError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

    from da3d.persistence.onnx import OnnxModel
    from da3d.pipeline import AnomalyPipeline

__all__ = ["check_writable", "load_pipeline", "load_scorer", "make_folder", "read_rows"]


def load_pipeline(terminal: Terminal, path: Path) -> "AnomalyPipeline":
    """The pipeline in a model file.

    Raises
    ------
    FileError
        The file cannot be read, or is damaged, foreign, newer or tampered with.
    ParameterError
        It holds a detector alone.
    """
    with terminal.working(f"Loading {path}"):
        from da3d.persistence import load
        from da3d.pipeline import AnomalyPipeline

        model = load(path)
    if not isinstance(model, AnomalyPipeline):
        raise ParameterError(
            f"'{path}' holds a {type(model).__name__} alone, which knows neither the table's columns nor "
            "p-values; give a model file of a whole AnomalyPipeline, such as da3d fit writes."
        )
    return model


def load_scorer(terminal: Terminal, path: Path) -> "AnomalyPipeline | OnnxModel":
    """What scores with a file: a model file or an ONNX file, told apart by their content.

    Raises
    ------
    FileError
        The file cannot be read, or is damaged, foreign, newer or tampered with.
    ParameterError
        It holds a detector alone.
    ExtraError
        It is an ONNX file and ONNX Runtime is not installed.
    """
    from da3d.persistence import onnx

    if not onnx.is_onnx(path):
        return load_pipeline(terminal, path)
    with terminal.working(f"Loading {path}"):
        return onnx.load(path)


def read_rows(pipeline: "AnomalyPipeline", table: str) -> "pd.DataFrame":
    """A whole table as a pipeline reads it, without the columns that the fitted one did not have."""
    from da3d.pipeline.judging import fitted_columns
    from da3d.preprocessing import read_table

    return fitted_columns(pipeline, read_table(table, kinds=pipeline.encoder_.schema_.kinds))


def check_writable(path: Path) -> None:
    """Refuse an output file now that could only fail after all the work.

    Raises
    ------
    FileError
        The file's folder does not exist or cannot be written, or the path is no ordinary file.
    """
    from da3d.preprocessing import atomic_path

    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileError(f"'{path}' is a device or a pipe: give the name of an ordinary file, or - for stdout")
    try:
        with atomic_path(path):
            raise _Enough
    except _Enough:
        pass


def make_folder(folder: Path) -> None:
    """Make a folder for several output files, before any work is done for them.

    Raises
    ------
    FileError
        It cannot be made, or is no folder, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"the folder '{folder}' cannot be made ({error.strerror}); give another with -o."
        ) from error
    check_writable(folder / ".written")


class _Enough(Exception):  # noqa: N818 - not an error: ends the trial before it leaves a file
    """The file could be written."""
