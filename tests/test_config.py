"""Design points and studies: every mistake at once, overrides, axes."""

import json

import pytest
from pydantic import ValidationError

from flow.config import DesignPoint
from flow.core.errors import ConfigError
from flow.points import build_point, load_document, load_point, load_study


@pytest.fixture
def write(tmp_path):
    def go(text, name="point.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return go


def mistakes(document):
    with pytest.raises(ConfigError) as caught:
        build_point(document, "here")
    return str(caught.value).splitlines()


def test_defaults():
    point = build_point({"model": "m"}, "here")
    assert (point.name, point.seed, point.network.weight_bits, point.network.hidden_bits, point.hardware.backend) == (
        "point",
        0,
        6,
        6,
        "open",
    )
    assert build_point({"model": "m", "network": {"activation_bits": 3}}, "here").network.hidden_bits == 3
    assert DesignPoint.model_validate_json(point.model_dump_json()) == point


def test_every_mistake_at_once_with_its_key_value_and_what_is_allowed():
    document = {
        "name": "a b", "seed": -1, "sead": 1, "regularizers": {"jacobain": 0.1, "orthogonalty": 1},
        "network": {"weigth_bits": 4, "input_bits": 40, "latent_bits": "9", "bias_bits": 8.5, "rounding": "TRUNC"},
        "data": {"split": [0.8, 0.1, 0.2], "samples": 3}, "train": {"learning_rate": 0}, "hardware": {"backend": "vitus", "clock_ns": 0.1},
        "landscape": {"metrics": ["hesian_trace"]}, "robustness": {"perturbations": ["bit_flip", "gaus"], "noise_percent": [5, 101]},
    }  # fmt: skip
    head, *lines = mistakes(document)
    text = "\n".join(lines)
    assert head == f"here: {len(lines)} mistakes."
    for words in (
        "give either model, a folder of models/, or onnx, ",
        'name = "a b": String should match pattern',
        "seed = -1: Input should be greater than or equal to 0",
        "sead = 1: unknown key. Known: model, onnx, name, seed, network",
        "Did you mean 'seed'?",
        "network.weigth_bits = 4: unknown key. Known: size, weight_bits, ",
        "Did you mean 'weight_bits'?",
        "network.input_bits = 40: Input should be less than or equal to 16",
        'network.latent_bits = "9": Input should be a valid integer',
        "network.bias_bits = 8.5: Input should be a valid integer",
        "network.rounding = \"TRUNC\": Input should be 'ROUND' or 'FLOOR'",
        "data.split = [0.8, 0.1, 0.2]: three positive fractions that add up to 1 are needed",
        "data.samples = 3: ",
        "train.learning_rate = 0: ",
        "hardware.clock_ns = 0.1: ",
        "hardware.backend = \"vitus\": 'vitus' is not one of the synth: ",
        "'jacobain' is not one of the regularizers: bit_flip, ",
        "Did you mean 'jacobian'?",
        "Did you mean 'orthogonality'?",
        "'hesian_trace' is not one of the landscape: ",
        "Did you mean 'hessian_trace'?",
        "'gaus' is not one of the robustness: ",
        "robustness.noise_percent.1 = 101: ",
    ):
        assert words in text
    assert text.count("bit_flip' is not") == 0


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"network": 3}, "network = 3: "),
        ({"regularizers": {"jacobian": float("inf")}}, "regularizers.jacobian = Infinity: a positive number is needed"),
        ({"regularizers": {"jacobian": float("nan")}}, "regularizers.jacobian = NaN: "),
        ({"regularizers": {"jacobian": 0}}, "regularizers.jacobian = 0: "),
        ({"regularizers": {"jacobian": {"x": 1}}}, 'regularizers.jacobian = {"x": 1}: '),
        ({"data": {"split": [0.5, 0.5]}}, "data.split.2: this key is needed"),
        ({"name": "../../etc"}, "name = "),
        ({"name": ".hidden"}, "name = "),
        ({"seed": True}, "seed = true: "),
    ],
)
def test_one_mistake(document, words):
    head, line = mistakes({"model": "m", **document})
    assert head == "here: 1 mistake."
    assert words in line


def test_unknown_key_below_something_that_is_no_table():
    assert "model.x" not in "".join(mistakes({"model": {"x": 1}}))
    assert any("data.split" in line for line in mistakes({"model": "m", "data": {"split": {"a": 1}}}))


def test_frozen():
    point = build_point({"model": "m"}, "here")
    with pytest.raises(ValidationError, match="frozen"):
        point.seed = 3
    with pytest.raises(ValidationError, match="frozen"):
        point.network.weight_bits = 3


def test_files_that_are_not_there_or_not_toml(write, tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.toml: there is no such file\. Give the path"):
        load_point(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match=r"point\.toml: this is not valid TOML: Invalid value"):
        load_point(write("model = "))
    path = write("")
    path.write_bytes(b'model = "\xff"')
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_point(path)
    with pytest.raises(ConfigError, match=f"{path}: 1 mistake"):
        load_point(write("seed = 1"))


def test_a_point_is_called_after_its_model(write):
    assert load_point(write('model = "a/b c"')).name == "b_c"
    assert load_point(write('model = "a/b"\nname = "x.1"')).name == "x.1"


def test_set(write):
    path = write('model = "m"\n[network]\nweight_bits = 8\n')
    sets = [
        "network.weight_bits=4", "regularizers.jacobian = 1e-2", "network.rounding=FLOOR", 'network.size="small"', "train={epochs=3}",
        "landscape.metrics=['gradient_norm']", "name=it-is", "model=a=b", "seed=1", " seed =2", "hardware.part=xc7a35t",
    ]  # fmt: skip
    point = load_point(path, sets)
    assert point.network.model_dump(include={"weight_bits", "rounding", "size"}) == {"weight_bits": 4, "rounding": "FLOOR", "size": "small"}
    assert point.regularizers == {"jacobian": 0.01}
    assert point.landscape.metrics == ("gradient_norm",)
    assert (point.seed, point.train.epochs, point.hardware.part) == (2, 3, "xc7a35t")


def test_set_in_a_bad_form(write):
    path = write('model = "m"\nseed = 3')
    for text in ("seed", "=3", "  =3"):
        with pytest.raises(ConfigError, match=r"--set .*: write it as key=value, for example"):
            load_point(path, [text])
    with pytest.raises(ConfigError, match=r"seed\.x: 'seed' is not a table, so nothing can be set inside it"):
        load_point(path, ["seed.x=1"])
    with pytest.raises(ConfigError, match=r"network\.weight_bit = 4: unknown key.*Did you mean 'weight_bits'"):
        load_point(path, ["network.weight_bit=4"])
    with pytest.raises(ConfigError, match='name = "it is"'):
        load_point(path, ["name=it is"])


def test_data_path(write, tmp_path, monkeypatch):
    path = write('model = "m"\n[data]\npath = "../data/x.csv"', "deep/point.toml")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    assert load_point(path).data.path == str(tmp_path / "data" / "x.csv"), "relative to the file"
    assert load_point(path, ["data.path=y.csv"]).data.path == str(tmp_path / "cwd" / "y.csv"), "relative to the working folder"
    assert load_point(path, ["data.path=/z.csv"]).data.path == "/z.csv"
    assert load_document(write("data = 3"))["data"] == 3
    assert "data.path = 3" in mistakes({"model": "m", "data": {"path": 3}})[1]


# --- studies

STUDY = 'name = "st"\npoint = "point.toml"\n[axes]\n'


@pytest.fixture
def study(write):
    write('model = "m"\nname = "ignored"\n[network]\nlatent_bits = 7\n')
    return lambda axes, sets=(): load_study(write(STUDY + axes, "study.toml"), sets)


def test_product_of_the_axes_in_order(study):
    loaded, points = study('"network.weight_bits" = [4, 6]\nseed = [0, 1, 2]\n', ["train.epochs=2"])
    assert loaded.name == "st"
    assert [(p.network.weight_bits, p.seed) for p in points] == [(4, 0), (4, 1), (4, 2), (6, 0), (6, 1), (6, 2)]
    assert [p.name for p in points] == ["st-w4-s0", "st-w4-s1", "st-w4-s2", "st-w6-s0", "st-w6-s1", "st-w6-s2"]
    assert {(p.network.latent_bits, p.train.epochs) for p in points} == {(7, 2)}


def test_labels(study):
    _, points = study(
        "regularizers = [{}, {jacobian = 0.01}, {orthogonality = 1, jacobian = 1e-3}]\n"
        '"network.rounding" = ["FLOOR", "ROUND"]\n"network.latent_bits" = [9, 8]\n"hardware.clock_ns" = [2.5, 5.0]\n'
        '"hardware.part" = ["a/b c", "d"]\n"train.select" = ["last"]\n'
    )
    tail = "-FLOOR-l9-clock_ns_2.5-part_a-b-c"
    assert [p.name for p in points[::16]] == [f"st-{r}{tail}" for r in ("plain", "jacobian0.01", "orthogonality1-jacobian0.001")]
    assert {p.train.select for p in points} == {"last"}, "an axis with one value is a setting of all, and not in the names"


def test_no_axes_is_one_point(study):
    _, (point,) = study("")
    assert point.name == "st"


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ("seed = []", r"study\.toml: axes\.seed has no values"),
        ("seed = 3", r"axes\.seed = 3: Input should be a valid array"),
        ('"network.weight_bits" = [4, 99]', r"study\.toml, point st-w99: 1 mistake\.\n  - network\.weight_bits = 99: "),
        ('"network.wieght_bits" = [4]', r"unknown key.*Did you mean 'weight_bits'"),
        ('"seed.x" = [4]', r"unknown key|valid integer"),
        ('"model.x" = [4]', r"model\.x: 'model' is not a table"),
        ("seed = [1, 1]", r"study\.toml: two points are called st-s1"),
        ('"hardware.part" = ["a/b", "a-b"]', "two points are called st-part_a-b"),
        ("regularizers = [{jacobian = 0.01}, {jacobian = 0.01000000001}]", r"two points are called st-jacobian0\.01"),
    ],
)
def test_wrong_axes(study, axes, words):
    with pytest.raises(ConfigError, match=words):
        study(axes + "\n")


def test_wrong_study(write):
    with pytest.raises(ConfigError, match=r"study\.toml: 2 mistakes(.|\n)*axis = \{\}: unknown key.*Did you mean 'axes'(.|\n)*") as caught:
        load_study(write('point = "point.toml"\n[axis]', "study.toml"))
    assert "name: this key is needed" in str(caught.value)
    with pytest.raises(ConfigError, match=r'name = "\.\./x"'):
        load_study(write(STUDY.replace('"st"', '"../x"'), "study.toml"))
    with pytest.raises(ConfigError, match=r"point\.toml: there is no such file"):
        load_study(write(STUDY, "other/study.toml"))


def test_data_paths_of_a_study_are_relative_to_their_file(write, tmp_path, monkeypatch):
    write('model = "m"\n[data]\npath = "p.csv"', "points/point.toml")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    text = STUDY.replace("point.toml", "../points/point.toml")
    _, (point,) = load_study(write(text, "studies/study.toml"))
    assert point.data.path == str(tmp_path / "points" / "p.csv")
    _, points = load_study(write(text + '"data.path" = ["a.csv", "/b.csv"]', "studies/study.toml"))
    assert [p.data.path for p in points] == [str(tmp_path / "studies" / "a.csv"), "/b.csv"]


def test_points_of_a_study_are_json(study):
    _, points = study("seed = [0, 1]\n")
    for point in points:
        assert build_point(json.loads(point.model_dump_json()), "again") == point


def test_an_axis_cannot_be_overridden(tmp_path):
    (tmp_path / "p.toml").write_text('model = "econ_t"\n')
    (tmp_path / "s.toml").write_text('name = "s"\npoint = "p.toml"\naxes = { seed = [0, 1] }\n')
    with pytest.raises(ConfigError, match=r"--set seed: this key is an axis of .*s\.toml"):
        load_study(tmp_path / "s.toml", ["seed=3"])
