"""How long the command line takes to answer: medians and spread of whole processes.

Run: ``python benchmarks/startup.py [--repeats N]``.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import keep, spread

LINES = {
    "import da3d": ["-c", "import da3d"],
    "da3d --help": ["-m", "da3d", "--help"],
    "da3d fit --help": ["-m", "da3d", "fit", "--help"],
    "da3d datasets": ["-m", "da3d", "datasets"],
}
CAPTION = "Seconds of whole processes, one thread: wall time, and in the last column CPU time."
HEAD = ["", "median", "least", "most", "CPU, median"]


def seconds(line: list[str]) -> tuple[float, float]:
    """Wall and CPU time of one process."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *line], check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def prepared(folder: Path) -> dict[str, list[str]]:
    """The commands, on a table of 1 000 rows and two models of it."""
    from da3d import AnomalyPipeline, save
    from da3d.datasets import toy
    from da3d.detectors import make_detector

    table = toy.mixed(rows=1000, anomalies=0, seed=0).frame
    table.to_csv(folder / "rows.csv", index=False)
    lines = dict(LINES)
    rows, made = str(folder / "rows.csv"), str(folder / "made.da3d")
    for name, parameters in {"mahalanobis": {}, "da3d": {"steps": (20, 5, 5)}}.items():
        model, to = folder / f"{name}.da3d", str(folder / "out.csv")
        save(AnomalyPipeline(make_detector(name, **parameters), random_state=0).fit(table), model)
        fit = ["-m", "da3d", "fit", rows, "-o", made, "--detector", name, "--quiet"]
        given = [f"--param={key}={list(value)}" for key, value in parameters.items()]
        lines[f"da3d fit, 1 000 rows, {name}"] = fit + given
        score = ["-m", "da3d", "score", str(model), rows, "-o", to, "--quiet"]
        lines[f"da3d score, 1 000 rows, {name}"] = score
    return lines


def main() -> None:
    """Measure and keep a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        lines = prepared(Path(folder))
        taken = {name: [] for name in lines}
        for _ in range(repeats):
            for name, line in lines.items():
                taken[name].append(seconds(line))
    shown = [
        [name, *spread([wall for wall, _ in each], 2), spread([cpu for _, cpu in each], 2)[0]]
        for name, each in taken.items()
    ]
    samples = {
        f"{name}, {kind}": [each[place] for each in taken[name]]
        for name in taken
        for place, kind in enumerate(("wall", "CPU"))
    }
    keep("startup", CAPTION, HEAD, shown, samples)


if __name__ == "__main__":
    main()
