"""A network from elsewhere through the command line: `hlscape run --onnx FILE --data FILE`."""

import json
import shlex

import numpy as np
import onnx
import pytest

from tests.imported.networks import GOOD, write_data, write_signed
from tests.qonnx_models import Builder, write_mlp

QUICK = ("--set", "gate.samples=64", "--set", "gate.rtl_samples=16", "--set", "hardware.logic_per_stage=50.0")


@pytest.fixture
def network(tmp_path):
    return write_mlp(tmp_path / "jets.onnx", seed=GOOD)


@pytest.fixture
def data(tmp_path, network):
    return write_data(tmp_path / "jets.npz", network)


def test_mlp_to_csim(hlscape, network, data, gxx, tmp_path):
    done = hlscape("run", "--onnx", network.name, "--data", data.name, "--until", "csim", "--json", *QUICK, HLSCAPE_G__=gxx)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["gate"]["levels"] == {"twin": {"mismatches": 0, "samples": 16}, "csim": {"mismatches": 0, "samples": 64}}
    assert list(document["stages"]) == ["convert", "csim", "import"]
    assert 0.8 < document["metrics"]["accuracy"]["value"] < 1
    assert "The output is compared with the classes of the data file" in done.err
    assert (tmp_path / "hls_projects" / "jets" / "hls" / "firmware" / "imported.cpp").is_file()
    command = (tmp_path / "hls_projects" / "jets" / "README.md").read_text().split("`")[1]
    again = hlscape(*shlex.split(command)[1:], "--until", "csim", HLSCAPE_G__=gxx)
    assert "Nothing had to be done" in again.err
    assert "jets: OK  (jets.onnx, " in again.out


def test_signed_convolution_to_rtl(hlscape, gxx, tmp_path):
    """The point is a TOML file; the files stand beside it."""
    folder = tmp_path / "point"
    folder.mkdir()
    network = write_signed(folder / "net.onnx")
    write_data(folder / "data.npz", network, "none")
    (folder / "p.toml").write_text('onnx = "net.onnx"\nname = "signed"\n[data]\npath = "data.npz"\n')
    done = hlscape("run", folder / "p.toml", "--until", "rtl", "--json", *QUICK, HLSCAPE_G__=gxx)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert {name: level["mismatches"] for name, level in document["gate"]["levels"].items()} == {"twin": 0, "csim": 0, "alkaid": 0}
    assert "because the data file has no targets" in done.err
    verdicts = dict(line.split()[:2] for line in hlscape("explain", folder / "p.toml", *QUICK).out.splitlines())
    assert [stage for stage, word in verdicts.items() if word == "cached"] == ["import", "convert", "csim", "rtl"]
    assert hlscape("gc", "--dry-run").out == "would remove 0 folders, 0.0 MiB\n"


def test_measured_without_hardware(hlscape, network, data):
    """Landscape and robustness of classes; the report is written although nothing else ran."""
    sets = ["landscape.samples=64", "landscape.probes=4", "robustness.trials=5", "robustness.samples=100", "robustness.noise_draws=2"]
    sets += ['landscape.metrics=["hessian_trace", "sharpness"]', 'robustness.perturbations=["gauss", "bit_flip"]']
    options = [*QUICK, *(word for text in sets for word in ("--set", text))]
    for stage, metric in (("landscape", "hessian_trace"), ("robustness", "accuracy_flip_1")):
        done = hlscape("run", "--onnx", network, "--data", data, "--until", stage, "--json", *options)
        assert done.code == 0, done.err
        assert metric in json.loads(done.out)["metrics"]


def test_landscape_without_targets_leaves_out_what_is_zero(hlscape, network, tmp_path):
    path = write_data(tmp_path / "x.npz", network, "none")
    some = 'landscape.metrics=["hessian_trace", "gradient_norm", "gradient_noise"]'
    sets = ("--set", "landscape.samples=64", "--set", "landscape.probes=4", "--set", some, *QUICK)
    metrics = json.loads(hlscape("run", "--onnx", network, "--data", path, "--until", "landscape", "--json", *sets).out)["metrics"]
    assert metrics["hessian_trace"]["value"] > 0
    assert not [name for name in metrics if "gradient" in name]


def test_explain_and_report(hlscape, network, data, tmp_path):
    rows = json.loads(hlscape("explain", "--onnx", network, "--data", data, "--json").out)["stages"]
    assert rows["import"] == {"status": "will run", "reasons": ["it never ran for this point"]}
    assert not {"data", "train", "export"} & set(rows)
    (tmp_path / "p.toml").write_text(f'onnx = "{network.name}"\ndata.path = "{data.name}"\n')
    (tmp_path / "s.toml").write_text('name = "s"\npoint = "p.toml"\n[axes]\n"hardware.clock_ns" = [4.0, 5.0]\n')
    hlscape("report", "p.toml").refused("no point of it has been run", "hlscape run p.toml")
    hlscape("report", "s.toml").refused("no point of it has been run", "hlscape sweep s.toml")


def edited(change):
    def write(path):
        model = onnx.load(write_mlp(path))
        change(model)
        onnx.save(model, path)

    return write


def _sine(model):
    next(n for n in model.graph.node if n.op_type == "Relu").op_type = "Sin"


def _bare_input(model):
    quant = model.graph.node[0]
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = "x" if name == quant.output[0] else name
    model.graph.node.remove(quant)


def _odd_scale(path):
    b = Builder(4)
    y = b.node("MatMul", b.quant("x", 4, 0.25), b.quant(b.constant(np.ones((4, 3))), 4, 0.3))
    b.save(path, b.quant(y, 8, 0.125))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (None, ["net.onnx", "there is no such file"]),
        (lambda path: path.write_bytes(b"no network"), ["net.onnx", "this is not an ONNX file"]),
        (edited(_bare_input), ["Gemm_", "The first layer must be a quantizer"]),
        (edited(_sine), ["(Sin)", "this operator cannot be used"]),
        (_odd_scale, ["0.3", "MatMul_", "power of two", "network.allow_approximate"]),
    ],
)
def test_networks_that_cannot_be_used(hlscape, tmp_path, write, words):
    np.save(tmp_path / "x.npy", np.zeros((200, 4)))
    if write:
        write(tmp_path / "net.onnx")
    hlscape("run", "--onnx", "net.onnx", "--data", "x.npy").refused(*words)


@pytest.mark.parametrize(
    ("save", "words"),
    [
        (None, ["d.npz", "there is no such file"]),
        (lambda path: np.savez(path, x=np.zeros((200, 5))), ["a sample of x has the shape [5], but the network's input has [4]"]),
        (lambda path: np.savez(path, x=np.zeros((199, 4))), ["199 samples; at least 200"]),
        (lambda path: np.savez(path, x=np.zeros((200, 4), object)), ["pickled Python objects, which are never loaded"]),
        (lambda path: np.savez(path, x=np.zeros((200, 4)), y=np.full(200, 3)), ["classes from 3 to 3; the outputs are 0 to 2"]),
    ],
)
def test_data_that_cannot_be_used(hlscape, network, tmp_path, save, words):
    if save:
        save(tmp_path / "d.npz")
    hlscape("run", "--onnx", network, "--data", "d.npz").refused(*words)


def test_requests_that_contradict(hlscape, network, data, tiny):
    hlscape("run").refused("Give a POINT.toml, or --onnx FILE --data FILE.")
    hlscape("run", "--onnx", network).refused("onnx needs data.path (--data FILE)")
    hlscape("run", "--data", data).refused("there is nothing to do")
    hlscape("run", tiny, "--onnx", network, "--data", data).refused("give either model, ", "or onnx")
    hlscape("run", "--onnx", network, "--data", data, "--set", "network.weight_bits=4").refused("network.weight_bits: no effect")
    hlscape("run", "--onnx", network, "--data", data, "--until", "train").refused("'train' is not a stage. Stages: import, convert")
