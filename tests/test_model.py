"""Models are loaded by path, under a name of their own."""

import sys

import numpy as np
import pytest

from flow.core.errors import ConfigError, UnknownPlugin
from flow.model import load_model, model_folder, model_names

PARTS = {
    "network": "from .helper import TOP\nSIZES = ['s']\nINPUT_MAX = TOP\non_chip = off_chip = loss = None\n",
    "data": "def load(config): return None\n",
    "score": "SCORE = 'score'\n",
    "helper": "TOP = 2.0\n",
}


@pytest.fixture
def write(tmp_path):
    def go(name="m", **changes):
        folder = tmp_path / name
        folder.mkdir()
        for part, text in {**PARTS, **changes}.items():
            if text is not None:
                (folder / f"{part}.py").write_text(text)
        return folder

    yield go
    for name in [
        n for n in sys.modules if n.startswith("_hlscape_model_") and str(tmp_path) in str(sys.modules[n].__dict__.get("__path__"))
    ]:
        del sys.modules[name]


def test_model_outside_the_repository(write):
    folder = write()
    model = load_model(str(folder))
    assert (model.folder, model.sizes, model.input_max, model.score) == (folder, ("s",), 2.0, "score")
    assert load_model(str(folder)).load is model.load
    assert not {"network", "data", "helper"} & set(sys.modules), "names that others may have are left alone"


def test_two_models_do_not_mix(write):
    assert load_model(str(write("a"))).input_max == 2.0
    assert load_model(str(write("b", helper="TOP = 3.0\n"))).input_max == 3.0


def test_model_in_the_working_folder(write, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    folder = write("models/mine")
    monkeypatch.chdir(tmp_path)
    assert model_folder("mine") == folder


def test_unknown_model():
    assert "econ_t" in model_names()
    with pytest.raises(UnknownPlugin, match=r"model = 'econ_tt' is neither one of the models \(.*Did you mean 'econ_t'\?"):
        load_model("econ_tt")


@pytest.mark.parametrize("part", ["data", "score"])
def test_missing_file(write, part):
    with pytest.raises(ConfigError, match=rf"has no {part}\.py; see CONTRIBUTING\.md"):
        load_model(str(write(**{part: None})))


@pytest.mark.parametrize(("part", "text", "name"), [("network", "SIZES = ()", "INPUT_MAX"), ("data", "", "load"), ("score", "", "SCORE")])
def test_missing_name(write, part, text, name):
    with pytest.raises(ConfigError, match=rf"{part}\.py does not define '{name}'"):
        load_model(str(write(**{part: text})))


def test_scores_have_no_extras_unless_they_say_so():
    from flow.model import Score

    score = Score("s", "S", "", "lower", lambda o, t: np.zeros(len(t)), lambda t: t.mean(0))
    assert score.extras(np.zeros(1), np.zeros(1), np.random.default_rng(0)) == {}


def test_a_model_that_cannot_be_imported(tmp_path):
    for part in ("network", "data", "score"):
        (tmp_path / f"{part}.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(ConfigError, match=r"network.py cannot be imported: ModuleNotFoundError: No module named"):
        load_model(str(tmp_path))
