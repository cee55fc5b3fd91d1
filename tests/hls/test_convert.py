"""Conversion by hls4ml, without the C++ compiler: types, what is refused, and what is written."""

import io
import json

import numpy as np
import onnx
import pytest

from flow.core.errors import ConfigError, InvalidInput, ToolNotFound
from flow.hls import adder_trees
from flow.hls.convert import Hls, convert
from flow.rtl.lower import lower
from tests.hls.networks import Layers, clean, codes, everything, execute

PART = "xcku115-flvb2104-2-i"


def converted(path, folder, form="parallel"):
    return convert(path, folder, "net", PART, 5.0, form, io.StringIO())


def write(tmp_path, make, shape=(2, 5, 7)):
    b = Layers(*shape)
    return b.save(tmp_path / "net.onnx", b.output(make(b)))


def test_all_layers_become_the_same_logic_in_both_forms(tmp_path):
    path = everything(tmp_path / "net.onnx")
    graphs = [converted(path, tmp_path / form, form) for form in ("parallel", "stream")]
    x = codes((2, 4, 5), 40, signed=1)
    want = execute(clean(path), x)
    for graph in graphs:
        assert graph.port.type.range == (-16, 15)
        assert np.array_equal(lower(graph).predict(np.moveaxis(x, 1, -1)), want)
    kinds = {layer.kind for layer in graphs[1].layers}
    assert kinds == {
        "Input", "Conv2D", "DepthwiseConv2D", "ZeroPadding2D", "Pooling2D", "Dense", "Activation", "ParametrizedActivation", "Merge",
        "Concatenate", "Reshape",
    }  # fmt: skip


def test_a_project_is_the_same_again_and_names_no_folder(tmp_path):
    path = write(tmp_path, lambda b: b.dense(b.flat(b.conv(b.input(), 2, 2, 2, 2)), 48, 3))
    files = []
    for name in ("one", "two"):
        converted(path, tmp_path / name)
        files.append({p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()})
    assert files[0] == files[1]
    assert not [name for name, content in files[0].items() if str(tmp_path).encode() in content]


@pytest.mark.parametrize(
    ("make", "form", "words"),
    [
        (lambda b: b.pool(b.signed(b.conv(b.input(), 2, 2, 2, 2)), 2, 2, pad=1), "stream", "signed words cannot be padded"),
        (lambda b: b.node("Sin", b.input()), "parallel", r"cannot be lowered|hls4ml cannot convert net.onnx: "),
        (lambda b: b.conv("x", 2, 2, 2, 2), "parallel", "does not quantize its input first"),
    ],
)
def test_what_cannot_be_converted_is_refused(tmp_path, make, form, words):
    with pytest.raises(InvalidInput, match=words):
        converted(write(tmp_path, make), tmp_path / "project", form)


def test_what_a_file_leaves_to_defaults_is_written_down(tmp_path):
    b = Layers(2, 5, 7)
    path = b.save(tmp_path / "net.onnx", b.output(b.dense(b.flat(b.signed(b.conv(b.input(signed=1), 2, 3, 3, 2))), 54, 3)))
    model = onnx.load(str(path))
    for node in model.graph.node:
        kept = [a for a in node.attribute if a.name in ("signed", "narrow", "kernel_shape")]
        del node.attribute[:]
        node.attribute.extend(kept)
    onnx.save(model, str(path))
    graph = converted(path, tmp_path / "project")
    x = codes((2, 5, 7), 20, signed=1)
    assert np.array_equal(lower(graph).predict(np.moveaxis(x, 1, -1)), execute(clean(path), x))


def test_constants_that_hls4ml_merges_keep_their_values(tmp_path):
    """It loses the type of an addition behind a multiplication."""
    b = Layers(6)
    y = b.node("Mul", b.relu(b.dense(b.input(), 6, 5)), b.uniform(5))
    y = b.signed(b.node("Add", y, b.weight(b.rng.uniform(-1, 1, 5), 5, 2.0**-5)))
    path = b.save(tmp_path / "net.onnx", b.output(b.dense(y, 5, 3)))
    graph = converted(path, tmp_path / "project")
    assert "ApplyAlpha" in {layer.kind for layer in graph.layers}
    x = codes((6,), 40)
    assert np.array_equal(lower(graph).predict(x), execute(clean(path), x))


@pytest.mark.parametrize(
    ("hls", "factors"),
    [(Hls("latency", 3), [3, 3, 3]), (Hls("resource", 5), [6, 5, 4]), (Hls("resource", 1000), [18, 720, 64]), (Hls(), [1, 1, 1])],
)
def test_what_hls4ml_took_is_written_down_and_the_logic_stays(tmp_path, hls, factors):
    """The lowered graph is the same with each strategy, whatever it does to the weights of the C++; the C++ is not."""
    make = lambda b: b.dense(b.relu(b.dense(b.flat(b.relu(b.conv(b.input(), 2, 3, 3, 3))), 45, 16)), 16, 4)  # noqa: E731
    path = write(tmp_path, make)
    graph = convert(path, tmp_path / "project", "net", PART, 4.0, "parallel", io.StringIO(), hls)
    x = codes((2, 5, 7), 20)
    assert np.array_equal(lower(graph).predict(np.moveaxis(x, 1, -1)), execute(clean(path), x))
    rows = [row for row in json.loads((tmp_path / "project" / "hlscape.json").read_text())["hls"] if "products" in row]
    assert [row["products"] for row in rows] == [54, 720, 64]
    assert [row["reuse_factor"] for row in rows] == factors
    assert {row["strategy"] for row in rows} == {hls.strategy}
    parameters = (tmp_path / "project" / "firmware" / "parameters.h").read_text()
    assert all(f"reuse_factor = {factor};" in parameters for factor in factors)
    assert "set clock_uncertainty 27%" in (tmp_path / "project" / "project.tcl").read_text()


def test_adder_trees_need_da4ml_and_have_no_reuse(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    adder_trees.check("latency", 7)
    with pytest.raises(ToolNotFound, match=r"needs da4ml.*pip install 'hls4ml\[da\]'"):
        adder_trees.check("distributed_arithmetic", 1)
    with pytest.raises(ConfigError, match="no multiplier can be used again"):
        adder_trees.check("distributed_arithmetic", 2)
