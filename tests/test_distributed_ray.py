"""A Ray cluster of two nodes on this machine: scores, experiments and fits, whoever is killed."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from da3d import AE, KNN, AnomalyPipeline, Threshold, save
from da3d.datasets import toy
from da3d.distributed import fit_on_ray, run_cells_on_ray, score_on_ray
from da3d.errors import ParameterError, SchemaError
from da3d.experiments import Records, Summary, read_experiment, run_cells
from da3d.preprocessing import read_table
from test_cli_main import refused, run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own warnings are its own

PARTS = 12
ROWS = 3000  # of each part
PLAN = """
title = "Trial"
budget = "quick"
seeds = [0]
contamination = [0.0]
keep_scores = true
[[data]]
name = "breast_cancer"
[[detector]]
label = "knn"
name = "knn"
[[detector]]
label = "mahalanobis"
name = "mahalanobis"
[[detector]]
label = "broken"
name = "knn"
parameters = { neighbors = 0 }
"""


@pytest.fixture(scope="module")
def address():
    """Where two nodes of one CPU each answer."""
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, and a folder of files."""
    folder = tmp_path_factory.mktemp("made")
    normal = toy.mixed(rows=1500, anomalies=0, seed=0).frame
    model = save(AnomalyPipeline(KNN(), random_state=0).fit(normal), folder / "m.da3d")
    (folder / "table").mkdir()
    for number in range(PARTS):
        rows = toy.mixed(rows=ROWS, anomalies=30, seed=1 + number).frame
        rows.assign(id=np.arange(ROWS) + number * ROWS).to_parquet(
            folder / "table" / f"{number:02d}.parquet", index=False
        )
    return model, folder / "table"


@pytest.fixture(scope="module")
def alone(made, tmp_path_factory):
    """The verdicts of one process."""
    out = tmp_path_factory.mktemp("alone") / "out.parquet"
    assert run("score", *made, "-o", out, "--fpr", 0.02).exit_code == 0
    return read_table(out)


def workers():
    """The processes that work for Ray."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            name = path.read_bytes().decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if name.startswith("ray::_work"):
            found[int(path.parent.name)] = name
    return found


def test_two_nodes_judge_as_one_process(address, made, alone, tmp_path):
    line = ["score", *made, "-o", tmp_path / "out", "--fpr", 0.02, "--ray", address]
    result = run(*line)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == PARTS
    pd.testing.assert_frame_equal(read_table(tmp_path / "out"), alone)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    (tmp_path / "out" / "part-00003.parquet").write_bytes(b"damaged")
    again = run(*line)
    assert f"{PARTS - 1} of {PARTS} parts had been finished before." in again.stderr
    pd.testing.assert_frame_equal(read_table(tmp_path / "out"), alone)
    changed = [path.name for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns]
    assert changed == ["part-00003.parquet"]


def test_a_killed_worker_loses_and_repeats_no_row(address, made, alone, tmp_path):
    killed, ended = [], []

    def kill_one(rows):
        """After the first and after the fourth part: kill someone who works."""
        ended.append(rows)
        end = time.monotonic() + 20
        while len(ended) in (1, 4) and time.monotonic() < end:
            at_work = [pid for pid in workers() if pid not in killed]
            if at_work:
                os.kill(at_work[0], signal.SIGKILL)
                killed.append(at_work[0])
                return
            time.sleep(0.05)

    # Few rows at a time, so that a part takes long enough to be killed in its middle.
    how = {"threshold": Threshold("fpr", 0.02), "chunk": 20, "report": kill_one}
    done = score_on_ray(*made, tmp_path / "out", address=address, **how)
    assert len(killed) == 2
    assert done.judged.rows == PARTS * ROWS
    found = read_table(tmp_path / "out")
    assert found["id"].tolist() == list(range(PARTS * ROWS))
    pd.testing.assert_frame_equal(found, alone)
    assert not list((tmp_path / "out").glob(".*"))


def test_a_table_of_other_columns_is_the_callers_mistake(address, made, tmp_path):
    pd.DataFrame({"other": [1.0, 2.0]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match="lacks"):
        score_on_ray(made[0], tmp_path / "t.parquet", tmp_path / "out", address=address)
    refused(run("score", made[0], tmp_path / "t.parquet", "-o", tmp_path / "o", "--ray", address), "lacks")


def test_cells_have_the_records_of_one_machine(address, tmp_path):
    file = tmp_path / "trial.toml"
    file.write_text(PLAN, encoding="utf-8")
    cells = read_experiment(file).cells()
    here, there = Records(tmp_path / "here"), Records(tmp_path / "there" / "trial")
    assert run_cells(cells, here, jobs=2, keep_scores=True) == Summary(0, 2, 1)
    line = ["experiment", "run", file, "--results", tmp_path / "there", "--ray", address, "--json"]
    result = run(*line)
    assert result.exit_code == 1, result.output  # a cell failed
    assert '"finished": 2, "failed": 1' in result.stdout
    for cell in cells:
        one, other = (found.find(cell).record.model_dump() for found in (here, there))
        for measured in ("seconds", "seconds_total", "peak_memory_mib"):
            del one[measured], other[measured]
        assert one == other
        if one["error"] is None:
            assert np.array_equal(np.load(here.scores_path(cell)), np.load(there.scores_path(cell)))
    assert run_cells_on_ray(cells, there, address=address, keep_scores=True).skipped == 2


def test_a_cell_whose_process_dies_is_recorded(address, tmp_path):
    file = tmp_path / "slow.toml"
    slow = 'name = "bagged-nn"\nparameters = { bags = 200000, size = 64 }\n'
    file.write_text(PLAN.split("[[detector]]")[0] + f'[[detector]]\nlabel = "slow"\n{slow}', encoding="utf-8")
    cells, records = read_experiment(file).cells(), Records(tmp_path / "results")
    if (child := os.fork()) == 0:  # kills every process that works, as long as there are two to kill
        seen = set()
        end = time.monotonic() + 120
        while len(seen) < 2 and time.monotonic() < end:
            for pid in workers().keys() - seen:
                os.kill(pid, signal.SIGKILL)
                seen.add(pid)
            time.sleep(0.1)
        os._exit(0)
    done = run_cells_on_ray(cells, records, address=address)
    os.waitpid(child, 0)
    assert done.failed == 1
    assert records.find(cells[0]).record.error.type == "ProcessDied"


def test_workers_of_ray_train_make_one_model(address):
    rows = toy.mixed(rows=600, anomalies=0, seed=0).frame
    pipeline = AnomalyPipeline(AE(steps=150, batch_size=64), random_state=0)
    fitted = fit_on_ray(pipeline, rows, workers=2, address=address)
    new = toy.mixed(rows=400, anomalies=40, seed=1)
    one = pipeline.fit(rows)
    scores, alone = fitted.anomaly_score(new.frame), one.anomaly_score(new.frame)
    ranks = [pd.Series(each).rank()[new.labels == 1].mean() for each in (scores, alone)]
    assert ranks[0] > 0.9 * ranks[1] > 240
    assert not np.array_equal(scores, alone)
    with pytest.raises(ParameterError, match="3 but the Ray cluster has 2 CPUs"):
        fit_on_ray(pipeline, rows, workers=3, address=address)
    with pytest.raises(ParameterError, match="a batch has 1 rows but there are 2 processes"):
        fit_on_ray(AnomalyPipeline(AE(batch_size=1), random_state=0), rows, workers=2, address=address)
