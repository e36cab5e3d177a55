"""The report page: well-formed, harmless, complete, and its numbers are those of the pipeline."""

import re
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from da3d.datasets import toy
from da3d.detectors import DA3D, KNN
from da3d.errors import FileError, InputError, LabelError, ParameterError, SchemaError
from da3d.metrics import average_precision, roc_auc
from da3d.pipeline import AnomalyPipeline, Threshold
from da3d.reports.formats import number, percent, whole
from da3d.reports.judged import judge
from da3d.reports.page import report_page, write_report
from da3d.reports.quality import column_facts

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "link", "br", "hr", "img", "input"}
ALWAYS = ["short", "scores", "operating", "columns", "model", "glossary"]


BODY = re.compile("<tbody>(.*?)</tbody>", re.DOTALL)


def plain_spaces(text):
    """One space for any of them but those between a number and its unit."""
    return re.sub(r"[ \t\n]+", " ", text)


class Page(HTMLParser):
    """A page taken apart; refuses what is not well-formed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return plain_spaces(" ".join(self.words)).strip()

    @property
    def sections(self):
        return [attributes["id"] for tag, attributes, _ in self.tags if tag == "section"]

    def all(self, tag):
        return [attributes for name, attributes, _ in self.tags if name == tag]


def payments(rows, anomalies, seed):
    """A mixed table with a column whose name is an attack, a constant one, and labels."""
    table = toy.mixed(rows=rows, anomalies=anomalies, seed=seed)
    frame = table.frame.assign(constant=7.0, weight=1.0)
    frame["weight"] = frame["items"] * 2.5
    return frame.rename(columns={"weight": EVIL}), table.labels


def fitted(detector, **options):
    normal, _ = payments(300, 0, 0)
    return AnomalyPipeline(detector, random_state=0, **options).fit(normal)


@pytest.fixture(scope="module")
def da3d():
    return fitted(DA3D(steps=(20, 5, 10)), threshold=Threshold("fpr", 0.05))


@pytest.fixture(scope="module")
def knn():
    return fitted(KNN(), threshold=Threshold("fpr", 0.05))


@pytest.fixture(scope="module")
def judged():
    frame, labels = payments(120, 12, 3)
    frame.loc[frame.index[:2], "country"] = "<b>&amp;"
    return frame, labels


@pytest.fixture(scope="module")
def full(da3d, judged):
    file = {
        "path": f"{EVIL}.da3d",
        "bytes": 2_500_000,
        "created": "2026-11-22T10:00:00Z",
        "versions": {"da3d": "0.1.0"},
    }
    return report_page(da3d, *judged, top=6, name=EVIL, source=f"{EVIL}.csv", file=file)


@pytest.fixture(scope="module")
def plain(knn, judged):
    return report_page(knn, judged[0], top=3)


@pytest.fixture(scope="module")
def bare(knn):
    return report_page(knn)


@pytest.fixture(params=["full", "plain", "bare"])
def page(request):
    return request.getfixturevalue(request.param)


def test_the_page_is_well_formed_and_its_names_are_unique(page):
    parsed = Page(page)
    ids = [attributes["id"] for _, attributes, _ in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [each["href"].removeprefix("#") for tag in ("a", "use") for each in parsed.all(tag)]
    for _, attributes, _ in parsed.tags:
        targets += attributes.get("aria-labelledby", "").split()
    targets += re.findall(r"url\(#([^)]+)\)", page)
    assert len(targets) > 20
    assert set(targets) <= set(ids)


def test_the_page_loads_nothing_and_runs_nothing(page):
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _, _ in parsed.tags}
    for _, attributes, _ in parsed.tags:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#").startswith("#")
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert len(page.encode()) < 2_000_000


def test_everyone_can_read_the_page(page):
    parsed = Page(page)
    levels = [int(tag[1]) for tag, _, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    tables = [place for place, (tag, _, _) in enumerate(parsed.tags) if tag == "table"]
    assert all(parsed.tags[place + 1][0] == "caption" for place in tables)
    assert all(each["scope"] in ("col", "row", "rowgroup") for each in parsed.all("th"))
    pictures = [each for each in parsed.all("svg") if "aria-hidden" not in each]
    assert pictures
    assert all(each["role"] == "img" and each["aria-labelledby"] for each in pictures)
    assert [each["lang"] for each in parsed.all("html")] == ["en"]


def test_sections_are_there_for_a_reason(full, plain, bare):
    assert Page(full).sections == [
        *["short", "remarks", "scores", "ranking", "operating", "alerts"],
        *["columns", "codes", "training", "model", "glossary"],
    ]
    assert Page(plain).sections == [*ALWAYS[:1], "remarks", *ALWAYS[1:3], "alerts", *ALWAYS[3:]]
    assert Page(bare).sections == [*ALWAYS[:1], "remarks", *ALWAYS[1:]]
    for page in (full, plain, bare):
        parsed = Page(page)
        links = [
            each["href"].removeprefix("#")
            for tag, each, around in parsed.tags
            if tag == "a" and "nav" in around
        ]
        assert links == parsed.sections


def test_what_comes_from_data_is_escaped(full):
    assert EVIL not in full
    assert "<b>" not in re.sub(r"<b>[^<>]*</b>", "", full)  # but for those of the page itself
    text = Page(full).text
    assert text.startswith(EVIL)
    for words in (f"{EVIL}.da3d", f"Rows from {EVIL}.csv", "'<b>&amp;'"):
        assert words in text


def test_the_numbers_are_those_of_the_pipeline(full, da3d, judged):
    frame, labels = judged
    text, verdicts = Page(full).text, da3d.verdicts(frame)
    alarms = int(verdicts["is_anomaly"].sum())
    found = int(verdicts["is_anomaly"][labels == 1].sum())
    scores = verdicts["anomaly_score"]
    assert (
        f"Of 120 rows, {alarms} raise an alarm ({percent(alarms / 120)}; false-positive rate 5\u202f%)"
        in text
    )
    assert f"{found} of these alarms are right; there are 12 anomalies" in text
    assert f"ROC AUC {roc_auc(labels, scores):.3f} 95 %" in text
    assert f"Average precision {average_precision(labels, scores):.3f} 95 %" in text
    assert f"Rows at {number(da3d.calibration_.cut(0.05))} or more raise an alarm" in text
    assert f"Held-out rows {len(da3d.calibration_.scores)} " in text
    assert "Rows learned from 255, believed normal" in text
    assert "2.5\u202fMB Created 2026-11-22 10:00:00 UTC Versions da3d 0.1.0" in text


def test_the_operating_table_is_that_of_the_pipeline(full, bare, da3d, knn, judged):
    table = da3d.operating_table(*judged).sort_values("value", kind="stable")
    shown = [cells for cells in cells_of(full) if len(cells) == 6]
    for kind in ("fpr", "fdr", "budget"):
        for row in table[table["rule"] == kind].to_dict("records"):
            cells = shown.pop(0)
            assert cells[1:3] == [number(row["score"]), number(row["alerts_per_thousand"], 3)]
            for cell, name in zip(cells[3:], ("false_positive_rate", "precision", "recall"), strict=True):
                assert cell.split(" ")[0] == percent(row[name])
    assert shown == []
    assert full.count('<tr class="now">') == 1
    assert whole(len(knn.operating_table())) == str(
        sum(len(cells) == 3 for cells in cells_of(bare, "operating"))
    )


def cells_of(page, section="operating"):
    """The text of each cell of each row below the heads of a section's tables; row groups' names left out."""
    part = page.split(f'<section id="{section}"')[1].split("</section>")[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", "".join(BODY.findall(part)), re.DOTALL)
    cells = [re.findall(r"<(?:td|th)[^>]*>(.*?)</(?:td|th)>", row, re.DOTALL) for row in rows]
    texts = [[plain_spaces(unescape(re.sub("<[^>]+>", " ", cell))).strip() for cell in row] for row in cells]
    return [row for row in texts if len(row) > 1]


def test_the_strangest_rows_have_the_reasons_of_the_pipeline(full, da3d, judged):
    frame, labels = judged
    text = Page(full).text
    for explanation in da3d.explain(frame, top=6):
        heading = f"Row {explanation.row} {'alarm' if explanation.is_anomaly else 'no alarm'}"
        label = "an anomaly" if labels[frame.index.get_loc(explanation.row)] else "normal"
        severity = round(explanation.severity)
        assert (
            f"{heading} {label} by its label p-value {number(explanation.p_value, 2)} · "
            f"severity {severity} · score {number(explanation.anomaly_score)} "
        ) in text
        assert explanation.sentence.replace("`", "").split(" ")[0] in text
        first = explanation.contributions[0]
        assert f"{first.column} " in text
        assert f"+{number(first.contribution, 3)}" in text
    strange = int(da3d.verdicts(frame)["is_anomaly"].sum())
    assert f"{strange - 6} more rows raise an alarm and are not shown" in text
    assert len(re.findall(r"--share: 100\.0%", full)) == 6


def test_training_has_a_panel_for_every_column_of_every_phase(full, da3d):
    columns = {
        (row["phase"], name)
        for row in da3d.detector_.history_
        for name in row
        if name not in ("phase", "step")
    }
    part = full.split('<section id="training"')[1].split("</section>")[0]
    assert part.count("<figure>") == len(columns) >= 14
    last = da3d.detector_.history_.last("autoencoder")["reconstruction"]
    first = da3d.detector_.history_.column("autoencoder", "reconstruction")[0]
    assert f"<b>reconstruction</b>{number(first, 3)} → {number(last, 3)}" in part
    assert re.findall(r"<h3>(\S+) ", part) == ["autoencoder", "warm-up", "adversarial"]


def test_the_code_plane_shows_normal_generated_and_judged_rows(full, da3d, judged):
    reference = len(da3d.reference_.rows)
    generated = max(256, reference)
    assert f"Points: {reference} normal, {generated} generated, 108 judged, 12 anomaly" in Page(full).text
    untrained = fitted(DA3D(steps=(20, 5, 10), generated_weight=0.0), threshold=Threshold("fpr", 0.05))
    text = Page(report_page(untrained, judged[0], top=1)).text
    assert re.search(rf"Points: {reference} normal, \d+ judged", text)
    assert "generated" not in text.split("Codes", 1)[1].split("Training")[0].replace("generated_weight", "")


def test_every_parameter_is_shown_as_given_and_in_force(full, da3d):
    rows = {cells[0]: cells[1:] for cells in cells_of(full, "model")}
    assert set(da3d.detector_.get_params()) <= set(rows)
    assert set(vars(da3d.detector_.settings_)) <= set(rows)
    assert rows["steps"] == ["20, 5, 10", "20, 5, 10"]
    assert rows["memory"] == ["–", str(da3d.detector_.settings_.memory)]
    assert rows["threshold"] == ["false-positive rate 5\u202f%"] * 2


def test_pictures_take_all_colours_from_the_style_sheet(full):
    style = files("da3d.reports").joinpath("templates/style.css").read_text(encoding="utf-8")
    defined = set(re.findall(r"--([a-z]+):", style))
    used = set(re.findall(r"var\(--([a-z]+)\)", full))
    assert {"blue", "vermilion", "green", "ink", "faint"} <= used
    assert used - {"share"} <= defined
    body = full.split("</style>")[1]
    assert not re.search(r"(?:fill|stroke): ?#", body)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_have_enough_contrast(mode):
    style = files("da3d.reports").joinpath("templates/style.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[mode]
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
    for name, least in {
        "ink": 7,
        "soft": 4.5,
        "strong": 4.5,
        "blue": 3,
        "vermilion": 3,
        "green": 3,
        "purple": 3,
    }.items():
        for ground in ("paper", "band") if least > 3 else ("paper",):
            assert contrast(colours[name], colours[ground]) >= least, (name, ground)


def contrast(one, other):
    """Ratio of the two colours' luminances as WCAG 2 defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def remarks_of(page):
    if '<section id="remarks"' not in page:
        return []
    part = page.split('<section id="remarks"')[1].split("</section>")[0]
    return [unescape(re.sub("<[^>]+>", "", each)) for each in re.findall(r"<li>(.*?)</li>", part, re.DOTALL)]


def test_remarks_say_what_is_odd_about_the_table(knn, judged):
    frame = judged[0].copy()
    frame["amount"] = frame["amount"].fillna(40.0)
    frame.loc[frame.index[:3], "items"] = 1e6
    frame["member"] = frame["member"].astype(object).where(np.arange(120) >= 6, None)
    frame["more"] = 1
    frame = pd.concat([frame, frame.iloc[10:40]], ignore_index=True)
    remarks = "\n".join(remarks_of(report_page(knn, frame, top=1)))
    assert "Columns that were not there at fit are left out: more." in remarks
    assert "Missing more often than at fit: member (in 4\u202f% of the rows; at fit 0\u202f%)." in remarks
    assert re.search(r"Never seen at fit: country 'XK', '<b>&amp;' \(in [\d.]+\u202f% of the rows\)", remarks)
    assert re.search(
        r"Far outside the fitted range: .*items 1.000.000 \(in [\d.]+\u202f% of the rows; usual 1 to", remarks
    )
    assert "At an hour or on a weekday that no fitted row had: paid_at" in remarks
    assert "20\u202f% of the rows are equal to an earlier row" in remarks
    assert "Never varied at fit, so that any other value looks strange: constant." in remarks


def test_remarks_are_silent_about_an_ordinary_table():
    normal = toy.mixed(rows=400, anomalies=0, seed=0).frame
    pipeline = AnomalyPipeline(KNN(), random_state=0, threshold=Threshold("fpr", 0.05)).fit(normal)
    again = toy.mixed(rows=200, anomalies=0, seed=1).frame
    assert remarks_of(report_page(pipeline, again, top=1)) == []


@pytest.mark.filterwarnings("ignore::da3d.pipeline.ResolutionWarning")
def test_remarks_say_when_verdicts_are_not_to_be_believed(judged):
    normal, _ = payments(300, 0, 0)
    shifted = normal.assign(amount=normal["amount"].fillna(9.0) * 50, items=40)
    strict = fitted(KNN(), threshold=Threshold("fpr", 0.001))
    remarks = "\n".join(remarks_of(report_page(strict, shifted, top=1)))
    assert "0.001 is finer than 45 held-out rows can tell (the smallest p-value is 0.022)" in remarks
    assert "100\u202f% of the rows raise an alarm" in remarks
    assert "The median p-value is 0.022" in remarks
    few = AnomalyPipeline(KNN(), random_state=0).fit(normal[:30])
    assert "There were too few rows (30) to hold any out" in remarks_of(report_page(few))[0]


def test_new_is_beyond_the_extremes_and_far_is_much_beyond():
    normal = pd.DataFrame({"x": np.linspace(0, 10, 60), "kind": ["a", "b"] * 30})
    pipeline = AnomalyPipeline(KNN(), random_state=0, threshold=Threshold("fpr", 0.2)).fit(normal)
    frame = pd.DataFrame(
        {"x": [5.0, 10.0, 12.0, -3.0, 25.0, -19.0, np.nan, 19.0], "kind": ["a", "c", None, *"abcab"]}
    )
    x, kind = column_facts(pipeline, judge(pipeline, frame, None))
    assert (x.new, x.far, x.missing, x.missing_now, x.examples) == (5 / 8, 2 / 8, 0.0, 1 / 8, ("-19",))
    assert (kind.new, kind.far, kind.missing_now, kind.examples) == (2 / 8, None, 1 / 8, ("'c'",))


def test_suppressed_rows_are_named(knn, judged):
    frame = judged[0]
    verdicts = knn.verdicts(frame)
    strange = np.argsort(-verdicts["anomaly_score"].to_numpy())[:1]
    quiet = knn.suppress(frame.iloc[strange], reach=0.0)
    page = report_page(quiet, *judged, top=3)
    count = int(quiet.verdicts(frame)["suppressed"].sum())
    assert f"{count} rows raise no alarm only because they are like rows that were suppressed." in remarks_of(
        page
    )
    assert f"Row {verdicts.index[strange[0]]} suppressed" in Page(page).text


def test_without_remembered_rows_there_are_no_reasons(judged):
    pipeline = fitted(DA3D(steps=(20, 5, 10)), reference_rows=0, threshold=Threshold("fpr", 0.05))
    page = report_page(pipeline, *judged, top=2)
    assert "remembers no normal rows, so it cannot say why" in Page(page).text
    assert "--share: " not in page
    assert "256 generated, 108 judged, 12 anomaly" in Page(page).text


@pytest.mark.parametrize("rule", [Threshold("budget", 30), Threshold("top", 7), Threshold("fdr", 0.3)])
def test_a_rule_that_ranks_has_no_threshold_for_every_table(judged, rule):
    pipeline = fitted(KNN(), threshold=rule)
    page = report_page(pipeline, judged[0], top=1)
    assert "The rule in force ranks the rows" in Page(page).text
    assert page.count('<tr class="now">') == 1
    assert Page(report_page(pipeline)).sections == [*ALWAYS[:1], "remarks", *ALWAYS[1:]]


def test_groups_have_thresholds_of_their_own(judged):
    normal, _ = payments(400, 0, 0)
    pipeline = AnomalyPipeline(
        KNN(), calibrate_by="member", random_state=0, threshold=Threshold("fpr", 0.1)
    ).fit(normal)
    text = Page(report_page(pipeline, *judged, top=1)).text
    assert "The threshold differs between the groups of member" in text
    assert f"{int(pipeline.verdicts(judged[0])['is_anomaly'].sum())} raise an alarm" in text


def test_of_very_many_columns_the_odd_ones_are_shown():
    random = np.random.default_rng(0)
    names = [f"c{place}" for place in range(230)]
    normal = pd.DataFrame(random.normal(size=(60, 230)), columns=names)
    pipeline = AnomalyPipeline(KNN(), random_state=0, threshold=Threshold("fpr", 0.2)).fit(normal)
    strange = pd.DataFrame(random.normal(size=(20, 230)), columns=names)
    strange["c229"] = 50.0
    page = report_page(pipeline, strange, top=1)
    shown = [cells[0].split(" ")[0] for cells in cells_of(page, "columns")]
    assert len(shown) == 200
    assert shown[-1] == "c229"
    assert "230 columns in use" in Page(page).text
    assert "Shown are the 200 in which the judged rows are least like the fitted ones" in Page(page).text
    assert len(page.encode()) < 2_000_000


@pytest.mark.parametrize("name", ["a$b$c", "tick`tick", "{{ 7 * 7 }}", "x" * 300, "größe\u202e"])
def test_odd_names_of_columns_are_only_text(name):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.normal(size=80), "other": random.choice(["{% raw %}", "b"], 80)})
    pipeline = AnomalyPipeline(KNN(), random_state=0, threshold=Threshold("fpr", 0.2)).fit(frame)
    page = report_page(pipeline, frame, top=2)
    assert name in Page(page).text


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"labels": np.ones(3)}, ParameterError, "labels are given without the rows"),
        ({"top": 0}, ParameterError, "top is 0"),
        ({"top": 1.5}, ParameterError, "top is 1.5"),
        ({"data": "judged", "labels": np.ones(3)}, LabelError, "one label per row"),
        ({"data": "judged", "labels": np.zeros(120)}, LabelError, "are normal rows"),
        ({"data": "judged", "labels": np.full(120, 2)}, LabelError, "Labels contain 2"),
        ({"data": pd.DataFrame({"amount": [1.0]})}, SchemaError, "lacks"),
    ],
)
def test_what_cannot_be_reported_is_refused(knn, judged, options, error, words):
    given = {**options, "data": judged[0]} if isinstance(options.get("data"), str) else options
    with pytest.raises(error, match=words):
        report_page(knn, **given)


def test_a_report_is_written_whole_or_not_at_all(knn, tmp_path, judged):
    target = tmp_path / "report.html"
    assert write_report(target, knn, name="mine") == target
    assert "<title>mine" in target.read_text(encoding="utf-8")
    before = target.read_bytes()
    with pytest.raises(InputError):
        write_report(target, knn, judged[0], labels=[1])
    assert target.read_bytes() == before
    with pytest.raises(FileError):
        write_report(tmp_path / "absent" / "report.html", knn)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
