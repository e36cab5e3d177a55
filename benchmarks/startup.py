"""How long the command line takes to answer: medians and spread of whole processes.

Run: ``python benchmarks/startup.py [--repeats N]``.
"""

import argparse
import statistics
import subprocess
import sys
import time

LINES = {
    "import da3d": ["-c", "import da3d"],
    "da3d --help": ["-m", "da3d", "--help"],
    "da3d fit --help": ["-m", "da3d", "fit", "--help"],
    "da3d datasets": ["-m", "da3d", "datasets"],
}


def seconds(line: list[str]) -> float:
    """Wall time of one process."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *line], check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    print(f"{'':<18}{'median':>9}{'least':>9}{'most':>9}   seconds, {repeats} runs")
    for name, line in LINES.items():
        taken = [seconds(line) for _ in range(repeats)]
        print(f"{name:<18}{statistics.median(taken):>9.2f}{min(taken):>9.2f}{max(taken):>9.2f}")


if __name__ == "__main__":
    main()
