"""A wrong request: exit code 2 and words that say what, where and what to do."""

import os
import subprocess
import sys

import pytest

from tests.cli.conftest import TINY

POINTS = {
    "misspelt": ('model = "econ_t"\n[network]\nweight_bist = 4', ["network.weight_bist", "unknown key", "Did you mean 'weight_bits'?"]),
    "misspelt table": ('model = "econ_t"\n[netwrok]\nsize = "small"', ["netwrok", "Did you mean 'network'?"]),
    "bits": ('model = "econ_t"\n[network]\nweight_bits = 17', ["network.weight_bits = 17", "16"]),
    "text for a number": ('model = "econ_t"\n[network]\nweight_bits = "6"', ['network.weight_bits = "6"', "integer"]),
    "model": ('model = "econ_x"', ["model = 'econ_x'", "econ_t", "Did you mean 'econ_t'?"]),
    "no model": ("seed = 1", ["give either model, "]),
    "size": ('model = "econ_t"\n[network]\nsize = "huge"', ["network.size = 'huge'", "small, baseline, large"]),
    "regularizer": ('model = "econ_t"\n[regularizers]\njacobain = 0.1', ["'jacobain'", "orthogonality", "Did you mean 'jacobian'?"]),
    "metric": ('model = "econ_t"\n[landscape]\nmetrics = ["hessian_trase"]', ["'hessian_trase'", "Did you mean 'hessian_trace'?"]),
    "perturbation": ('model = "econ_t"\n[robustness]\nperturbations = ["gaus"]', ["'gaus'", "Did you mean 'gauss'?"]),
    "backend": ('model = "econ_t"\n[hardware]\nbackend = "quartus"', ["'quartus'", "open"]),
    "part": (
        'model = "econ_t"\n[hardware]\npart = "xcku116-flvb2104-2-i"',
        ["'xcku116-flvb2104-2-i'", "xcvu13p", "Did you mean 'xcku115-"],
    ),
    "split": ('model = "econ_t"\n[data]\nsplit = [0.5, 0.1, 0.1]', ["data.split", "add up to 1"]),
    "name": ('model = "econ_t"\nname = "../escape"', ['name = "../escape"']),
    "not TOML": ("model = econ_t", ["not valid TOML", "line 1"]),
    "not text": (b"\xff\xfe\x00", ["not valid TOML"]),
}


@pytest.mark.parametrize(("content", "words"), POINTS.values(), ids=POINTS)
def test_point(hlscape, tmp_path, content, words):
    path = tmp_path / "point.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    hlscape("run", path).refused(*words)
    assert not (tmp_path / "store").exists()


def test_every_mistake_at_once(hlscape, tmp_path):
    path = tmp_path / "point.toml"
    path.write_text('model = "econ_t"\nsede = 1\n[network]\nlatent_bits = 1\n[train]\nepochs = 0')
    hlscape("run", path).refused("3 mistakes", str(path), "sede", "network.latent_bits = 1", "train.epochs = 0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("network.weight_bits", ["--set network.weight_bits", "key=value"]),
        ("=4", ["--set =4", "key=value"]),
        ("network.wheight_bits=4", ["network.wheight_bits = 4", "Did you mean 'weight_bits'?"]),
        ("model.deep=4", ["'model' is not a table"]),
        ("network=4", ["network = 4"]),
        ("data=4", ["data = 4"]),
    ],
)
def test_set(hlscape, tiny, text, words):
    hlscape("run", tiny, "--set", text).refused(*words)


def test_files_that_are_not_there(hlscape, tmp_path):
    for command in ("run", "explain", "sweep", "report"):
        hlscape(command, "nowhere.toml").refused("nowhere.toml: there is no such file", "models/econ_t/point.toml")
    hlscape("run", tmp_path).refused(str(tmp_path), "there is no such file")


def test_unknown_stage(hlscape, tiny):
    hlscape("run", tiny, "--until", "sinth").refused("'sinth' is not a stage", "synth")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["sweep", "x.toml", "-j", "two"], ["list", "tools"]])
def test_usage(hlscape, arguments):
    done = hlscape(*arguments)
    assert done.code == 2
    assert done.err.startswith("usage: hlscape")
    assert "Traceback" not in done.err


STUDIES = {
    "no point": ('name = "s"', ["point: this key is needed"]),
    "misspelt": ('name = "s"\npoint = "tiny.toml"\naxis = 3', ["axis = 3", "Did you mean 'axes'?"]),
    "base": ('name = "s"\npoint = "gone.toml"', ["gone.toml: there is no such file"]),
    "axis": ('name = "s"\npoint = "tiny.toml"\n[axes]\n"network.bits" = [4]', ["network.bits = 4", "unknown key"]),
    "empty axis": ('name = "s"\npoint = "tiny.toml"\n[axes]\nseed = []', ["axes.seed has no values"]),
}


@pytest.mark.parametrize("command", ["sweep", "report"])
@pytest.mark.parametrize(("content", "words"), STUDIES.values(), ids=STUDIES)
def test_study(hlscape, tiny, content, words, command):
    path = tiny.with_name("study.toml")
    path.write_text(content)
    hlscape(command, path).refused(*words)


def test_no_processes(hlscape, tiny):
    study = tiny.with_name("study.toml")
    study.write_text('name = "s"\npoint = "tiny.toml"')
    hlscape("sweep", study, "-j", "0").refused("--jobs 0")


def test_never_run(hlscape, tiny):
    hlscape("report", tiny, "--set", "seed=3").refused("no point of it has been run", f"hlscape run {tiny} --set seed=3")
    study = tiny.with_name("study.toml")
    study.write_text('name = "s"\npoint = "tiny.toml"\n[axes]\nseed = [0, 1]')
    hlscape("report", study).refused("no point of it has been run", f"hlscape sweep {study}")


def test_empty_path(tiny, tmp_path):
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    environment = {"PATH": "", "PYTHONPATH": root, "HLSCAPE_STORE": str(tmp_path / "store")}
    argv = [sys.executable, "-m", "flow", "run", str(tiny), "--until", "csim"]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for word in ("g++ was not found (looked at PATH)", "apt install g++", "HLSCAPE_G__"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store" / "data").exists(), "nothing may start before the tools are found"


@pytest.mark.parametrize(("variable", "tool"), [("HLSCAPE_G__", "g++"), ("HLSCAPE_VERILATOR", "verilator"), ("HLSCAPE_YOSYS", "yosys")])
def test_tool_is_not_there(hlscape, tiny, variable, tool):
    hidden = {"HLSCAPE_VVP": "/nowhere/vvp", variable: "/nowhere/tool"}  # Icarus Verilog would stand in for Verilator
    done = hlscape("run", tiny, **hidden)
    done.refused(f"{tool} was not found (looked at {variable}=/nowhere/tool)", f"set {variable}")


def test_tool_without_version(hlscape, tiny):
    hlscape("run", tiny, "--until", "csim", HLSCAPE_G__="/bin/true").refused("g++ at /bin/true does not tell its version")


def test_store_is_a_file(hlscape, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    done = hlscape("run", tiny, "--until", "data", store=tmp_path / "file" / "store")
    assert done.code == 2
    assert "cannot be written" in done.err
    done = hlscape("run", tiny, "--until", "data", store=tmp_path / "file")
    assert done.code == 2
    assert f"{tmp_path / 'file'}" in done.err
    assert "Traceback" not in done.err


def test_tiny_is_the_readable_form(tiny):
    assert tiny.read_text() == TINY
