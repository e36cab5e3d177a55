"""Runs: parallel, resumed, killed, interrupted; failing cells and crashing ones."""

import os
import signal
import subprocess
import sys
import time

import pytest

from da3d.errors import FileError, ParameterError
from da3d.experiments import Record, Records, Summary, read_experiment, run_cells
from da3d.experiments.cell import run_cell
from da3d.experiments.run import Forecast, _processes

PLAN = """
title = "Trial"
budget = "quick"
seeds = [0, 1]
contamination = [0.0]
[[data]]
name = "breast_cancer"
[[detector]]
label = "knn"
name = "knn"
[[detector]]
label = "mahalanobis"
name = "mahalanobis"
"""
FAILING = '[[detector]]\nlabel = "broken"\nname = "knn"\nparameters = { neighbors = 0 }\n'
SLOW = '[[detector]]\nlabel = "slow"\nname = "bagged-nn"\nparameters = { bags = 3000, size = 64 }\n'


def cells_of(folder, text=PLAN):
    path = folder / "trial.toml"
    path.write_text(text, encoding="utf-8")
    return read_experiment(path).cells()


def results_of(cells, records):
    """What must be the same however often a run was broken off."""
    found = [records.find(cell).record for cell in cells]
    return [(each.cell, each.digest, each.metrics, each.scores_sha256, each.settings) for each in found]


def die(*arguments):
    """Stands for `worker.work` in a cell whose process crashes."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop_quietly(*arguments):
    """Stands for a process that ends without a word."""


def take_long(*arguments):
    """Stands for a cell that is still in work when its run is ended."""
    time.sleep(600)


def test_a_run_does_every_cell_and_the_next_run_none(tmp_path):
    cells, records, seen = cells_of(tmp_path), Records(tmp_path / "results"), []
    assert run_cells(cells, records, jobs=2, report=seen.append) == Summary(skipped=0, finished=4, failed=0)
    assert sorted(each.cell.id for each in seen) == sorted(cell.id for cell in cells)
    assert [(each.ended, each.total) for each in seen] == [(n, 4) for n in (1, 2, 3, 4)]
    assert seen[-1].seconds_left == 0
    assert all(records.find(cell).state == "finished" for cell in cells)
    before = [records.path(cell).stat().st_mtime_ns for cell in cells]
    assert run_cells(cells, records, report=seen.append) == Summary(skipped=4, finished=0, failed=0)
    assert len(seen) == 4
    assert [records.path(cell).stat().st_mtime_ns for cell in cells] == before


def test_the_number_of_jobs_changes_nothing_in_the_result(tmp_path):
    cells = cells_of(tmp_path)
    for jobs in (1, 3):
        run_cells(cells, Records(tmp_path / str(jobs)), jobs=jobs)
    assert results_of(cells, Records(tmp_path / "1")) == results_of(cells, Records(tmp_path / "3"))


def test_the_callers_environment_reaches_the_cell(tmp_path, monkeypatch):
    monkeypatch.setenv("DA3D_DATA", str(tmp_path / "gone"))
    cells = cells_of(tmp_path, PLAN.replace("breast_cancer", "nsl_kdd"))[:1]
    records = Records(tmp_path / "results")
    run_cells(cells, records)
    error = records.find(cells[0]).record.error
    assert (error.type, "DA3D_DATA names" in error.message) == ("FileError", True)


def test_a_network_learns_the_same_in_a_process_of_its_own(tmp_path):
    network = '[[detector]]\nlabel = "net"\nname = "da3d"\nparameters = { steps = [3, 3, 3] }\n'
    cell, records = (
        cells_of(tmp_path, PLAN.split("[[detector]]")[0] + network)[0],
        Records(tmp_path / "results"),
    )
    run_cells([cell], records)
    assert records.find(cell).record.scores_sha256 == run_cell(cell)[0].scores_sha256


def test_a_failing_cell_is_recorded_the_rest_goes_on_and_it_is_tried_again(tmp_path):
    cells, records = cells_of(tmp_path, PLAN + FAILING), Records(tmp_path / "results")
    assert run_cells(cells, records, jobs=2) == Summary(skipped=0, finished=4, failed=2)
    states = {cell.id: records.find(cell).state for cell in cells}
    assert {name for name, state in states.items() if state == "failed"} == {
        "breast_cancer/0/broken/0",
        "breast_cancer/0/broken/1",
    }
    assert run_cells(cells, records) == Summary(skipped=4, finished=0, failed=2)


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        (die, "ended by signal SIGKILL; it may have run out of memory"),
        (stop_quietly, "ended with exit code 0"),
    ],
)
def test_a_crashing_process_is_recorded(tmp_path, monkeypatch, worker, words):
    monkeypatch.setattr("da3d.experiments.run.work", worker)
    cells, records = cells_of(tmp_path), Records(tmp_path / "results")
    assert run_cells(cells[:2], records) == Summary(skipped=0, finished=0, failed=2)
    error = records.find(cells[0]).record.error
    assert error.type == "ProcessDied"
    assert words in error.message


def test_another_configuration_makes_a_record_stale_and_is_run(tmp_path):
    cells, records = cells_of(tmp_path), Records(tmp_path / "results")
    run_cells(cells, records)
    text = PLAN.replace('name = "knn"', 'name = "knn"\nparameters = { neighbors = 1 }')
    changed = cells_of(tmp_path, text)
    assert [cell.id for cell in changed] == [cell.id for cell in cells]
    assert [records.find(cell).state for cell in changed] == ["stale", "finished"] * 2
    assert run_cells(changed, records) == Summary(skipped=2, finished=2, failed=0)
    assert [records.find(cell).state for cell in cells] == ["stale", "finished"] * 2


def test_a_damaged_record_is_run_again(tmp_path):
    cells, records = cells_of(tmp_path)[:1], Records(tmp_path / "results")
    run_cells(cells, records)
    before = results_of(cells, records)
    records.path(cells[0]).write_text(records.path(cells[0]).read_text()[:100])
    assert run_cells(cells, records).finished == 1
    assert results_of(cells, records) == before


def test_scores_are_kept_on_demand(tmp_path):
    cells, records = cells_of(tmp_path)[:1], Records(tmp_path / "results")
    run_cells(cells, records)
    assert not records.scores_path(cells[0]).exists()
    assert (
        run_cells(cells, records, keep_scores=True).finished == 1
    )  # finished before, but without its scores
    assert records.scores_path(cells[0]).exists()
    assert run_cells(cells, records, keep_scores=True).skipped == 1


def test_a_finished_record_stays_until_its_cell_has_run_again(tmp_path, monkeypatch):
    cells, records = cells_of(tmp_path)[:1], Records(tmp_path / "results")
    run_cells(cells, records, keep_scores=True)
    records.scores_path(cells[0]).unlink()  # so that the cell is run again
    before = records.path(cells[0]).read_bytes()
    monkeypatch.setattr("da3d.experiments.run.work", take_long)
    with _processes(records, keep_scores=True, keep_for_figures=False) as crew:
        crew.start(cells[0])
    assert records.path(cells[0]).read_bytes() == before
    monkeypatch.setattr("da3d.experiments.run.work", die)
    assert run_cells(cells, records, keep_scores=True).failed == 1
    assert records.find(cells[0]).state == "failed"


def test_jobs_and_folder_are_checked_first(tmp_path):
    cells = cells_of(tmp_path)
    with pytest.raises(ParameterError, match="jobs is 0"):
        run_cells(cells, Records(tmp_path / "results"), jobs=0)
    (tmp_path / "results").write_text("a file")
    with pytest.raises(FileError, match="cannot be written"):
        run_cells(cells, Records(tmp_path / "results"))


def test_an_exception_ends_the_cells_in_work(tmp_path):
    def interrupt(progress):
        raise KeyboardInterrupt

    cells, records = cells_of(tmp_path, PLAN + SLOW), Records(tmp_path / "results")
    order = sorted(cells, key=lambda cell: cell.detector.label != "slow")[:3]  # slow, slow, knn
    with pytest.raises(KeyboardInterrupt):
        run_cells([order[0], order[2], order[1]], records, jobs=2, report=interrupt)
    assert [records.find(cell).state for cell in order] == ["missing", "missing", "finished"]


def test_forecast():
    first, second = (seed_cells() for _ in range(2))
    forecast = Forecast(jobs=2)
    assert forecast.left(first, []) is None
    assert forecast.left([], []) == 0
    knn, far = first[0], first[1]
    forecast.learn(knn, took(10.0))
    forecast.learn(far, took(2.0))
    assert forecast.expected(second[0]) == 10.0
    assert forecast.left([knn, far, far], []) == pytest.approx(7.0)
    forecast.learn(knn, took(0.1, failed=True))
    assert forecast.expected(knn) == 10.0


def seed_cells():
    """Two cells of two detectors."""
    from pathlib import Path

    from da3d.experiments.entries import DataEntry, DetectorEntry
    from da3d.experiments.plan import Cell

    data = DataEntry(name="breast_cancer")
    return [
        Cell(data, 0.0, DetectorEntry(label=name, name=name), 0, Path("/"), {}) for name in ("knn", "far")
    ]


def took(seconds, failed=False):
    """As much of a record as a forecast reads."""
    return Record.model_construct(seconds_total=seconds, error="an error" if failed else None)


def start(folder, *options):
    """A process that runs the plan in a folder, in a process group of its own."""
    line = [sys.executable, "-m", "da3d", "experiment", "run", "trial.toml", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, cwd=folder, start_new_session=True, **pipes)


def wait_until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def group_is_gone(leader):
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_killed_run_continues_to_the_same_result(tmp_path):
    cells = cells_of(tmp_path, PLAN.replace("[0, 1]", "[0, 1, 2, 3, 4]") + SLOW)
    records = Records(tmp_path / "results" / "trial")
    process = start(tmp_path, "--jobs", "2")
    wait_until(lambda: sum(records.path(cell).exists() for cell in cells) >= 2 or process.poll() is not None)
    process.kill()
    process.communicate()
    wait_until(lambda: group_is_gone(process.pid), 30)  # cells do not outlive their run
    states = [records.find(cell).state for cell in cells]
    assert set(states) == {"finished", "missing"}, states  # nothing torn
    kept = {cell.id: records.path(cell).stat().st_mtime_ns for cell in cells if records.path(cell).exists()}
    run_cells([cell for cell in cells if cell.detector.label != "slow" or cell.seed == 0], records, jobs=2)
    again = {cell.id: records.path(cell).stat().st_mtime_ns for cell in cells if cell.id in kept}
    assert again == kept
    quick = [cell for cell in cells if cell.detector.label != "slow"]
    run_cells(quick, Records(tmp_path / "unbroken"), jobs=2)
    assert results_of(quick, records) == results_of(quick, Records(tmp_path / "unbroken"))


def test_ctrl_c_stops_cleanly(tmp_path):
    cells = cells_of(tmp_path, PLAN + SLOW.replace("3000", "300000"))
    records = Records(tmp_path / "results" / "trial")
    process = start(tmp_path)
    knn, mahalanobis, slow = cells[:3]
    wait_until(lambda: records.path(mahalanobis).exists() and records.path(slow).parent.exists())
    time.sleep(0.5)  # the slow cell is in work
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the run and to its processes
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("Interrupted: the records of cells that ended stay")
    assert "Traceback" not in said
    wait_until(lambda: group_is_gone(process.pid), 30)
    assert [records.find(cell).state for cell in (knn, mahalanobis, slow)] == [
        "finished",
        "finished",
        "missing",
    ]
    files = sorted(path.name for path in (tmp_path / "results").rglob("*") if path.is_file())
    assert files == ["0.json", "0.json"]
