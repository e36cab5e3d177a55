"""Tables are what the records say, whatever was printed before."""

import re

import numpy as np
import pytest
from scipy.stats import wilcoxon

from da3d.errors import FileError, ParameterError
from da3d.experiments import (
    Records,
    between_markers,
    compare_detectors,
    make_table,
    read_experiment,
    to_markdown,
)
from da3d.experiments.cell import blank
from da3d.experiments.compare import holm
from da3d.experiments.record import Failure, Seconds, Size

PLAN = """
title = "Trial"
budget = "quick"
seeds = [0, 1, 2]
contamination = [0.0, 0.01]
[[data]]
name = ["breast_cancer", "digits"]
[[detector]]
label = "ours"
name = "knn"
published = { "digits" = { "0.0" = 0.9 } }
[[detector]]
label = "theirs"
name = "mahalanobis"
"""


def open_trial(folder, text=PLAN):
    path = folder / "trial.toml"
    path.write_text(text, encoding="utf-8")
    return read_experiment(path), Records(folder / "results" / "trial")


def put(records, cell, auc, *, reached=None, seconds=1.0):
    """Leave the record of a cell that reached this AUC, or that failed."""
    if auc is None:
        records.put(cell, blank(cell, error=Failure(type="ValueError", message="no")))
        return
    record = blank(
        cell,
        train=Size(rows=10, anomalies=0),
        test=Size(rows=10, anomalies=2),
        contamination_reached=cell.contamination if reached is None else reached,
        seconds=Seconds(fit=seconds, fit_cpu=seconds, score=0.1),
        metrics={"auc": auc, "average_precision": auc / 2},
        scores_sha256="0" * 64,
    )
    records.put(cell, record)


def filled(folder, aucs, text=PLAN, **facts):
    """A trial in which each cell has the AUC that `aucs` gives for it; ... leaves it out."""
    experiment, records = open_trial(folder, text)
    for cell in experiment.cells():
        auc = aucs(cell)
        if auc is not ...:
            put(records, cell, auc, **facts)
    return experiment, records


def lines_of(markdown):
    """Every table line by its first two texts."""
    lines = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("|")]
    texts = [[text.strip() for text in line] for line in lines]
    return {tuple(line[:2]): line[2:] for line in texts}


def by_place(values):
    """AUC of a cell by data, contamination, detector and seed."""
    return lambda cell: values[cell.data.shown, cell.contamination, cell.detector.label][cell.seed]


FULL = {
    ("breast_cancer", 0.0, "ours"): (0.90, 0.92, 0.94),
    ("breast_cancer", 0.0, "theirs"): (0.80, 0.80, 0.80),
    ("digits", 0.0, "ours"): (0.70, 0.70, 0.70),
    ("digits", 0.0, "theirs"): (0.7004, 0.7004, 0.7004),
    ("breast_cancer", 0.01, "ours"): (0.85, None, 0.87),
    ("breast_cancer", 0.01, "theirs"): (None, None, None),
    ("digits", 0.01, "ours"): (0.6, 0.6, ...),
    ("digits", 0.01, "theirs"): (..., ..., ...),
}


def test_a_table_of_everything_that_can_be_there(tmp_path):
    table = make_table(*filled(tmp_path, by_place(FULL)))
    lines = lines_of(to_markdown(table))
    assert lines["data set", "contamination"] == ["ours", "ours, published", "theirs"]
    assert lines["breast_cancer", "0 %"] == ["**0.920** ± 0.020", "–", "0.800 ± 0.000"]
    assert lines["digits", "0 %"] == ["**0.700** ± 0.000", "0.900", "**0.700** ± 0.000"]
    assert lines["breast_cancer", "1 %"] == ["**0.860** ± 0.014 (2 of 3 seeds)", "–", "failed"]
    assert lines["digits", "1 %"] == ["**0.600** ± 0.000 (2 of 3 seeds)", "–", "–"]
    assert lines["*mean of 2 rows*", "0 %"] == ["0.810", "", "0.750"]
    assert lines["*mean rank of 2 rows*", "0 %"] == ["1.50", "", "1.50"]
    assert ("*mean of 2 rows*", "1 %") not in lines  # no row is complete
    assert lines["*fit, seconds*", ""] == ["1.00", "", "1.00"]


def test_the_caption_says_metric_seeds_budget_and_versions(tmp_path):
    text = to_markdown(make_table(*filled(tmp_path, lambda cell: 0.9)))
    assert text.startswith("**Trial** (quick budget, not the paper's)\n\nAUC, mean ± sample deviation")
    assert "seeds 0, 1, 2;" in text
    assert "Made by da3d 0.1.0, torch" in text
    paper = PLAN.replace('"quick"', '"paper"').replace("[0, 1, 2]", "[0]")
    text = to_markdown(make_table(*filled(tmp_path, lambda cell: 0.9, paper)))
    assert "(the paper's budget)" in text
    assert "±" not in text


def test_the_contamination_that_was_reached_is_shown_where_it_is_another(tmp_path):
    table = make_table(*filled(tmp_path, lambda cell: 0.9, reached=0.0062))
    lines = lines_of(to_markdown(table))
    assert ("digits", "1 % (0.62 % reached)") in lines
    assert table.rows[1].reached == pytest.approx(0.0062)


def test_a_detector_that_never_finished_does_not_spoil_the_means(tmp_path):
    text = PLAN + '[[detector]]\nlabel = "broken"\nname = "knn"\nparameters = { neighbors = 0 }\n'
    aucs = {"ours": 0.9, "theirs": 0.8, "broken": None}
    table = make_table(*filled(tmp_path, lambda cell: aucs[cell.detector.label], text))
    lines = lines_of(to_markdown(table))
    assert lines["*mean of 2 rows*", "0 %"] == ["0.900", "", "0.800", "–"]
    assert lines["*mean rank of 2 rows*", "1 %"] == ["1.00", "", "2.00", "–"]
    assert table.ranked == ("ours", "theirs")


def test_another_metric_has_no_published_numbers(tmp_path):
    experiment, records = filled(tmp_path, by_place(FULL))
    lines = lines_of(to_markdown(make_table(experiment, records, "average_precision")))
    assert lines["breast_cancer", "0 %"] == ["**0.460** ± 0.010", "0.400 ± 0.000"]
    with pytest.raises(ParameterError, match="metric is 'f2' but must be one of auc"):
        make_table(experiment, records, "f2")


def test_records_of_another_configuration_are_not_shown(tmp_path):
    _, records = filled(tmp_path, lambda cell: 0.9)
    changed, _ = open_trial(tmp_path, PLAN.replace('"mahalanobis"', '"isolation-forest"'))
    assert lines_of(to_markdown(make_table(changed, records)))["digits", "0 %"][-1] == "–"


def test_an_empty_table_is_a_table(tmp_path):
    table = make_table(*open_trial(tmp_path))
    assert lines_of(to_markdown(table))["digits", "0 %"] == ["–", "0.900", "–"]
    assert table.as_dict()["summary"][0] == {
        "contamination": 0.0,
        "complete_rows": 0,
        "mean": None,
        "mean_rank": None,
    }
    assert compare_detectors(table) == []


def test_as_dict_holds_the_numbers_of_the_table(tmp_path):
    data = make_table(*filled(tmp_path, by_place(FULL))).as_dict()
    row = data["rows"][0]
    assert (row["data"], row["contamination"]) == ("breast_cancer", 0.0)
    assert row["detectors"]["ours"]["mean"] == pytest.approx(0.92)
    assert row["detectors"]["ours"]["deviation"] == pytest.approx(0.02)
    assert data["summary"][0]["mean"] == {"ours": pytest.approx(0.81), "theirs": pytest.approx(0.7502)}
    assert data["rows"][2]["detectors"]["ours"]["published"] == 0.9
    assert data["rows"][1]["detectors"]["theirs"]["failed"] == 3


def many(sets):
    names = ", ".join(f'"set{number}"' for number in range(sets))
    third = '[[detector]]\nlabel = "same"\nname = "isolation-forest"\n'
    text = PLAN.replace('"breast_cancer", "digits"', names).replace("[0.0, 0.01]", "[0.0]")
    return text.replace('published = { "digits" = { "0.0" = 0.9 } }\n', "") + third


GAPS = [0.05, 0.01, -0.02, 0.03, 0.04, 0.06, 0.07]


def gap(cell):
    """The second detector is behind by `GAPS`, the third never."""
    behind = GAPS[int(cell.data.shown[3:])] if cell.detector.label == "theirs" else 0.0
    return 0.9 - behind


def test_detectors_are_compared_over_data_sets(tmp_path):
    table = make_table(*filled(tmp_path, gap, many(7)))
    theirs, same = compare_detectors(table)
    assert (theirs.wins, theirs.ties, theirs.losses) == (6, 0, 1)
    assert theirs.difference == pytest.approx(0.04)
    assert theirs.p_value == pytest.approx(wilcoxon(GAPS, zero_method="zsplit").pvalue)
    assert theirs.p_holm == pytest.approx(min(1, 2 * theirs.p_value))
    assert (same.ties, same.p_value, same.p_holm) == (7, 1.0, 1.0)
    lines = lines_of(to_markdown(table))
    assert lines["theirs", "0 %"][:2] == ["6 – 0 – 1", "+0.040"]


def test_the_rule_of_a_column_of_one_character_is_markdown(tmp_path):
    text = many(7).replace('name = "mahalanobis"', 'name = "ecod"')
    table = make_table(*filled(tmp_path, lambda cell: 0.9, text))
    lines = to_markdown(table).splitlines()
    heads = [n for n, line in enumerate(lines) if line.startswith("| against")]
    assert heads
    assert lines[heads[0]].split("|")[-3].strip() == "p"
    assert all(re.fullmatch(r"\| -+ (\| -+: )+\|", lines[n + 1]) for n in heads)


def test_fewer_than_six_data_sets_are_not_compared(tmp_path):
    table = make_table(*filled(tmp_path, gap, many(5)))
    assert compare_detectors(table) == []
    assert "Wilcoxon" not in to_markdown(table)


def test_some_equal_values_are_compared_without_a_warning(tmp_path):
    table = make_table(*filled(tmp_path, lambda cell: round(gap(cell) * 20) / 20, many(6)))
    assert all(0 < each.p_value <= 1 for each in compare_detectors(table))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert np.all(holm([0.02, 0.01, 0.9]) >= np.array([0.02, 0.01, 0.9]))


DOCUMENT = """# Results
<!-- table: first -->
old | numbers
<!-- /table -->
between
<!-- table: second --><!-- /table -->
after
"""


def test_between_markers(tmp_path):
    path = tmp_path / "results.md"
    path.write_text(DOCUMENT, encoding="utf-8")
    between_markers(path, "first", "a \\1 new | one\n")
    between_markers(path, "second", "x")
    text = path.read_text(encoding="utf-8")
    assert "<!-- table: first -->\n\na \\1 new | one\n\n<!-- /table -->\nbetween\n" in text
    assert "<!-- table: second -->\n\nx\n\n<!-- /table -->\nafter\n" in text
    assert "old" not in text
    between_markers(path, "first", "a \\1 new | one")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "document",
    [
        "# nothing\n",
        "<!-- table: first -->\nnever closed\n",
        "<!-- table: first -->\n<!-- table: other --><!-- /table -->\n",
        "<!-- table: first --><!-- /table -->" * 2,
    ],
)
def test_markers_that_are_not_there_once(tmp_path, document):
    path = tmp_path / "results.md"
    path.write_text(document)
    with pytest.raises(FileError, match="needs the line <!-- table: first --> once"):
        between_markers(path, "first", "x")
    assert path.read_text() == document


def test_a_document_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        between_markers(tmp_path / "none.md", "first", "x")
