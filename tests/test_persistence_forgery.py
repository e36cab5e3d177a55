"""Files that someone made with right digests: refused before anything is built, and never run."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skops import io as skops

from da3d.datasets import toy
from da3d.detectors import KNN, IsolationForest
from da3d.errors import ModelFileError, ParameterError
from da3d.persistence import estimators, load, save
from da3d.persistence.container import SEAL, unzipped, zipped
from da3d.pipeline import AnomalyPipeline

TABLE = toy.mixed(rows=60, seed=0).frame
ROWS = np.random.default_rng(0).normal(size=(60, 3))
FOREST = estimators.estimator_member("forest")


class Unknown(BaseEstimator):
    built = False

    def __setstate__(self, state):
        type(self).built = True


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    fitted = AnomalyPipeline(KNN(), random_state=0).fit(TABLE)
    return unzipped(save(fitted, tmp_path_factory.mktemp("model") / "m").read_bytes(), "model")


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    fitted = IsolationForest(trees=2, random_state=0).fit(ROWS)
    return unzipped(save(fitted, tmp_path_factory.mktemp("model") / "m").read_bytes(), "model")


def resealed(members, change=lambda manifest: None):
    """A model file with these members, a changed manifest and digests that are right."""
    manifest = json.loads(members["manifest.json"])
    manifest["members"] = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in members.items()
        if name != "manifest.json"
    }
    change(manifest)
    return zipped(members | {"manifest.json": json.dumps(manifest).encode()}, sealed=True)


@pytest.fixture
def refused(tmp_path):
    def check(data, match):
        path = tmp_path / "model.da3d"
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=match) as caught:
            load(path)
        assert str(path) in str(caught.value)

    return check


def test_the_forger_of_these_tests_can_make_a_sound_file(pipeline, forest, tmp_path):
    for members in (pipeline, forest):
        (tmp_path / "model.da3d").write_bytes(resealed(members))
        load(tmp_path / "model.da3d")


def test_a_newer_format(pipeline, refused):
    data = resealed(pipeline, lambda m: m.update(format=2, novelty=1))
    refused(data, r"newer da3d \(format 2; this one reads up to 1\); upgrade")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.update(extra=1), "manifest is wrong at extra"),
        (lambda m: m["detector"].update(cls="os.system"), "manifest is wrong at detector.cls"),
        (lambda m: m["pipeline"]["parameters"].update(extra=1), "pipeline.parameters.extra"),
        (lambda m: m.pop("versions"), "manifest is wrong at versions"),
        (lambda m: m["detector"].update(features="3"), "detector.features"),
        (lambda m: m.update(format=0), "manifest is wrong at format"),
        (lambda m: m.update(format="1"), "manifest is wrong at format"),
        (lambda m: m.update(library="other"), "not a model file of da3d"),
        (lambda m: m.update(kind="detector"), "kind is detector"),
        (lambda m: m.update(pipeline=None), "kind is pipeline"),
        (lambda m: m["detector"].update(name="os.system"), "must be one of da3d"),
        (lambda m: m["detector"]["parameters"].update(extra=1), "no parameter extra"),
        (lambda m: m["detector"].update(features=2), "cannot restore"),
        (lambda m: m["pipeline"].update(calibration_rows=1), "calibration scores instead of 1"),
        (lambda m: m["pipeline"]["calibration_groups"].append("x"), "cannot restore"),
        (lambda m: m["pipeline"]["reference"]["usual"].pop(), "other columns than the encoder"),
        (lambda m: m["pipeline"]["reference"]["texts"].clear(), "reference rows are damaged"),
        (lambda m: m["pipeline"]["reference"]["usual"][0].update(extra=1), "usual.0.extra"),
        (lambda m: m["pipeline"]["encoder"].pop("scaling"), "cannot restore"),
        (lambda m: m["pipeline"]["encoder"]["categories"].pop(), "cannot restore"),
        (lambda m: m["pipeline"]["parameters"].update(threshold={"rule": "x", "value": 1}), "rule is 'x'"),
        (lambda m: m["members"]["encoder.skops"].update(bytes=10**12), "not what its manifest describes"),
        (lambda m: m["members"]["encoder.skops"].update(sha256="0" * 64), "not what its manifest describes"),
        (lambda m: m["members"].pop("encoder.skops"), r"not those of its manifest \(encoder.skops\)"),
        (
            lambda m: m["members"].update(more={"bytes": 1, "sha256": ""}),
            r"not those of its manifest \(more\)",
        ),
    ],
)
def test_a_manifest_that_save_never_writes(change, match, pipeline, refused):
    refused(resealed(pipeline, change), match)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_not_a_json_object(text, pipeline, refused):
    refused(zipped(pipeline | {"manifest.json": text}, sealed=True), "is not a model file")


def test_an_extra_a_missing_and_a_changed_member(pipeline, refused):
    manifest = {"manifest.json": pipeline["manifest.json"]}
    refused(zipped(pipeline | {"evil.py": b"x"}, sealed=True), r"not those of its manifest \(evil.py\)")
    less = {name: data for name, data in pipeline.items() if name != "encoder.skops"}
    refused(zipped(less, sealed=True), r"not those of its manifest \(encoder.skops\)")
    refused(zipped(manifest | dict(reversed(pipeline.items())), sealed=True), "not those of its manifest")
    changed = pipeline | {"arrays.safetensors": pipeline["arrays.safetensors"] + b"\x00"}
    refused(zipped(changed, sealed=True), "arrays.safetensors is not what its manifest describes")


def test_a_member_that_belongs_nowhere(pipeline, refused):
    refused(resealed(pipeline | {"detector/evil.skops": pipeline["encoder.skops"]}), "cannot restore")


def test_arrays_that_are_not_safetensors(pipeline, refused):
    refused(resealed(pipeline | {"arrays.safetensors": b"\xff" * 100}), "arrays cannot be read")


def sealed_zip(write):
    """What `write` puts into a zip, with a right seal."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        write(file)
        file.comment = SEAL + b"0" * 64
    data = buffer.getvalue()
    return data[:-64] + hashlib.sha256(data[:-64]).hexdigest().encode()


def test_a_zip_bomb(pipeline, refused):
    def write(file):
        file.writestr("manifest.json", pipeline["manifest.json"])
        file.writestr("arrays.safetensors", b"\0" * 10**7, compress_type=zipfile.ZIP_DEFLATED)

    refused(sealed_zip(write), "compressed, repeated or oversized")


def test_a_member_that_is_there_twice(pipeline, refused):
    def write(file):
        file.writestr("manifest.json", pipeline["manifest.json"])
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("manifest.json", pipeline["manifest.json"])

    refused(sealed_zip(write), "compressed, repeated or oversized")


def test_a_type_of_the_forgers_own_is_named_and_not_built(pipeline, refused):
    data = skops.dumps(Unknown())
    refused(resealed(pipeline | {"encoder.skops": data}), r"not trusted there: .*\.Unknown")
    stripped = without_ids(data)
    refused(resealed(pipeline | {"encoder.skops": stripped}), r"not trusted there: [\w.]*\.Unknown;")
    assert not Unknown.built


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (LinearRegression(), "LinearRegression"),
        (Pipeline([("scale", StandardScaler())], memory="/tmp/cache"), "Pipeline"),
        (FunctionTransformer(np.log), "numpy.log"),
        (FunctionTransformer(print), "builtins.print"),
    ],
)
def test_types_that_skops_would_trust_are_refused_where_they_do_not_belong(step, named, pipeline, refused):
    inside = ColumnTransformer([("step", step, [0])])
    data = without_ids(skops.dumps(inside))
    refused(resealed(pipeline | {"encoder.skops": data}), named)
    with pytest.raises(ParameterError, match=named):
        estimators.dump(inside, "encoder.skops")


def test_an_allowed_type_in_the_wrong_role(pipeline, refused):
    data = without_ids(skops.dumps(StandardScaler().fit(ROWS)))
    refused(resealed(pipeline | {"encoder.skops": data}), "not the ColumnTransformer that belongs there")
    data = without_ids(skops.dumps(ColumnTransformer([("s", StandardScaler(), [0])]).fit(ROWS)))
    refused(resealed(pipeline | {"encoder.skops": data}), "parts do not fit each other")


def test_a_node_that_stands_for_another_is_refused(pipeline, refused):
    data = skops.dumps(ColumnTransformer([("s", StandardScaler(), [0])]).fit(ROWS))
    refused(resealed(pipeline | {"encoder.skops": data}), "not trusted there")


def without_ids(data, change=lambda schema, parts: None):
    parts = unzipped(data, "skops")
    schema = json.loads(parts["schema.json"])
    for node in estimators._nodes(schema):
        node.pop("__id__", None)
    change(schema, parts)
    return zipped(parts | {"schema.json": json.dumps(schema).encode()})


def first_tree(schema):
    return next(node for node in estimators._nodes(schema) if node["__loader__"] == "TreeNode")


def with_nodes(change):
    """Change the first tree's nodes in place."""

    def edit(schema, parts):
        name = first_tree(schema)["content"]["content"]["nodes"]["file"]
        nodes = np.load(io.BytesIO(parts[name]))
        change(nodes)
        buffer = io.BytesIO()
        np.save(buffer, nodes)
        parts[name] = buffer.getvalue()

    return edit


def with_number(value, *path):
    def edit(schema, parts):
        node = first_tree(schema)
        for key in path:
            node = node[key]
        node["content"] = value

    return edit


def put(field, place, value):
    def change(nodes):
        nodes[field][place] = value

    return with_nodes(change)


@pytest.mark.parametrize(
    "change",
    [
        put("left_child", 0, 10**9),
        put("right_child", 0, 10**9),
        put("left_child", 0, -7),
        put("left_child", 0, 0),
        put("right_child", 0, 0),
        put("left_child", 0, -1),
        put("feature", 0, 10**6),
        put("feature", 0, 3),
        put("feature", 0, -5),
        with_number("100000", "content", "content", "node_count"),
        with_number("0", "content", "content", "node_count"),
        with_number("1000", "__reduce__", "args", "content", 0),
        with_number("1000000", "__reduce__", "args", "content", 2),
    ],
)
def test_a_tree_that_points_outside_of_itself(change, forest, refused):
    refused(resealed(forest | {FOREST: without_ids(forest[FOREST], change)}), "nodes point outside")


def test_a_tree_whose_numbers_are_disguised(forest, refused):
    def disguise(schema, parts):
        outputs = first_tree(schema)["__reduce__"]["args"]["content"][2]
        outputs.update(
            __loader__="NdArrayNode", __module__="numpy", __class__="int64", type="numpy", file="big.npy"
        )
        buffer = io.BytesIO()
        np.save(buffer, np.int64(10**9))
        parts["big.npy"] = buffer.getvalue()

    refused(resealed(forest | {FOREST: without_ids(forest[FOREST], disguise)}), "where a JsonNode belongs")


def test_a_forest_that_shows_its_trees_other_columns(forest, refused):
    def narrow(schema, parts):
        schema["content"]["content"]["_max_features"]["content"] = "1"

    refused(resealed(forest | {FOREST: without_ids(forest[FOREST], narrow)}), "columns instead of 3")


def test_a_forest_of_another_width(tmp_path, forest, refused):
    wide = IsolationForest(trees=2, random_state=0).fit(np.random.default_rng(0).normal(size=(60, 5)))
    other = unzipped(save(wide, tmp_path / "wide").read_bytes(), "wide")
    refused(resealed(forest | {FOREST: other[FOREST]}), "cannot restore")


def test_a_skops_member_that_is_no_skops(pipeline, refused):
    deep = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    schemas = [zipped({"schema.json": text}) for text in (b"{}", b"[", deep)]
    for data in (b"", b"nonsense", zipped({}), *schemas):
        refused(resealed(pipeline | {"encoder.skops": data}), "cannot restore")
