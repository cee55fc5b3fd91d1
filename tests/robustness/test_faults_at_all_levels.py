"""The same faults of weight and bias bits in the twin, in hls4ml's C-simulation, in the lowered logic and in the simulated Verilog."""

import dataclasses
import io
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flow.core.stage import Stage
from flow.core.tool import GXX, Tool, run
from flow.gate import channels_last, words
from flow.hls.convert import convert
from flow.robustness._bits import bit_space
from flow.rtl import verilog
from flow.rtl.lower import lower
from flow.rtl.ports import Port
from flow.rtl.simulate import simulator, stream
from flow.twin import load_twin
from tests.qonnx_models import Builder
from tests.rtl import tiny
from tests.rtl.conftest import PART
from tests.rtl.test_simulate import missing

SHAPES = ((2, 1, 2, 2), (2,), (3, 8), (3,))
SAMPLES = 40
RTL_EVERY = 3
# Puts each set of words into the arrays of weights, bit by bit: a conversion would clip what the quantizer of the training never makes.
DRIVER = """
#include "firmware/net.cpp"
#include <fstream>
#include <vector>
namespace nnet {
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = nullptr;
size_t trace_type_size = sizeof(double);
}
template <class T> void put(T &word, long long code) { word.range(T::width - 1, 0) = ap_int<64>(code); }
int main() {
    std::ifstream sets("sets.bin", std::ios::binary), in("x.bin", std::ios::binary);
    std::ofstream out("y.bin", std::ios::binary);
    static input_t x[@SAMPLES@][16]; static result_t y[3];
    double sample[16], result[3];
    for (auto &row : x) { in.read((char *)sample, sizeof(sample)); nnet::convert_data<double, input_t, 16>(sample, row); }
    net(x[0], y);  // loads the weights
    std::vector<long long> codes(@WORDS@);
    while (sets.read((char *)codes.data(), 8 * codes.size())) {
        auto code = codes.begin();
        @PUT@
        for (auto &row : x) { net(row, y); nnet::convert_data<result_t, double, 3>(y, result); out.write((char *)result, sizeof(result)); }
    }
}
"""


def network(path, codes, scales):
    """Conv 2@2x2, stride 2 -> relu -> flatten -> dense 3; codes and their scales, which broadcast."""
    b = Builder(1, 4, 4)
    parts = [
        b.weight(c * s, bits, np.asarray(s), narrow) for c, s, bits, narrow in zip(codes, scales, (4, 8, 4, 8), (1, 0, 1, 0), strict=True)
    ]
    y = b.quant("x", 5, 2.0**-4, signed=0)
    y = b.conv(y, *parts[:2], kernel_shape=[2, 2], strides=[2, 2])
    y = b.quant(b.node("Relu", y), 5, 2.0**-4, signed=0)
    y = b.node("Flatten", y, axis=1)
    y = b.node("Gemm", y, *parts[2:], transB=1)
    return b.save(path, b.quant(y, 8, 2.0**-5))


def converted(folder, codes, scales):
    path = network(folder.with_suffix(".onnx"), codes, scales)
    return path, convert(path, folder, "net", PART, 5.0, "parallel", io.StringIO())


def arrays(graph):
    """The arrays of weights of a graph, in the order of the network."""
    return [(layer.name, key, *weight) for layer in graph.layers for key, weight in layer.weights.items()]


def places(folder):
    """Which word is at each place of the arrays of the graph: convert networks whose words spell their number, one digit at a time."""
    labels = [np.arange(np.prod(shape)) for shape in SHAPES]
    found = [np.zeros(len(label), np.int64) for label in labels]
    for power in (1, 7):
        digits = [label // power % 7 + 1 for label in labels]
        _, graph = converted(folder / f"labels{power}", [d.reshape(s) for d, s in zip(digits, SHAPES, strict=True)], [0.125] * 4)
        for i, (_, _, array, _) in enumerate(arrays(graph)):
            found[i] += (np.round(array.reshape(-1) / 0.125).astype(np.int64) - 1) * power
    return found


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A network, faulty words for it, and what the twin makes of them."""
    folder = tmp_path_factory.mktemp("faults")
    rng = np.random.default_rng(5)
    codes = [rng.integers(low, -low, shape) for low, shape in zip((-7, -40, -7, -40), SHAPES, strict=True)]
    codes[0].flat[1], codes[2].flat[4] = 0, 0  # whose sign bits make -8
    codes[0].flat[6] = -7  # hls4ml's one type for both channels is as wide as the values need, and must hold every code
    channels = np.array([0.125, 0.25])
    path, graph = converted(folder / "net", codes, [channels.reshape(2, 1, 1, 1), 2.0**-7, 0.125, 2.0**-7])
    twin = load_twin(path)
    space = bit_space(twin.codes(twin.params), twin.weights)
    assert space.shapes == SHAPES
    assert twin.weights[space.names[0]].scales == (0.125, 0.25)
    single = space.flipped(np.arange(space.total)[:, None])
    faults = np.concatenate([space.words[None], single, space.flipped(np.stack([space.draw(rng, 5) for _ in range(20)]))])
    steps = [
        np.broadcast_to(np.asarray(twin.weights[n].steps(torch.zeros(1))), s).ravel() for n, s in zip(space.names, SHAPES, strict=True)
    ]
    x = rng.integers(0, 32, (SAMPLES, 1, 4, 4)) / 16
    with torch.no_grad():
        outputs = [twin.forward_codes({**twin.codes(twin.params), **space.codes(f)}, torch.from_numpy(x).float()).numpy() for f in faults]
    return SimpleNamespace(
        folder=folder, graph=graph, space=space, faults=faults, steps=np.concatenate(steps), x=x, y=np.stack([words(y) for y in outputs]),
        places=places(folder),
    )  # fmt: skip


def values(case, fault):
    """The arrays of the graph with a set of words, each flat."""
    ends = np.cumsum([len(p) for p in case.places])[:-1]
    return [part[place] for part, place in zip(np.split(fault * case.steps, ends), case.places, strict=True)]


def faulty(case, fault):
    """The graph with a set of words."""
    parts = iter(values(case, fault))
    layers = [
        dataclasses.replace(layer, weights={key: (next(parts).reshape(old.shape), kept) for key, (old, kept) in layer.weights.items()})
        for layer in case.graph.layers
    ]
    return dataclasses.replace(case.graph, layers=tuple(layers))


def test_the_words_of_the_twin_are_those_of_the_lowered_graph(case):
    for (name, key, array, _), part in zip(arrays(case.graph), values(case, case.space.words), strict=True):
        assert np.array_equal(array.reshape(-1), part), (name, key)
    lowest = case.faults.min(axis=0)
    assert (lowest[case.space.widths == 4] == -8).any(), "a fault makes the code that training never makes"
    assert (case.y[1:] != case.y[0]).any(axis=(1, 2)).mean() > 0.5, "most faults change an output"


@pytest.mark.skipif(missing((GXX,)), reason="there is no C++ compiler")
def test_the_c_simulation_gives_the_outputs_of_the_twin_for_every_fault(case, tmp_path):
    firmware = case.folder / "net" / "firmware"
    loads = re.findall(r"load_weights_from_txt<\w+, (\d+)>\((\w+),", (firmware / "net.cpp").read_text())
    kept = arrays(case.graph)
    assert [int(size) for size, _ in loads] == [array.size for _, _, array, _ in kept]
    puts = [f"for (int i = 0; i < {size}; ++i) put({name}[i], *code++);" for size, name in loads]
    driver = DRIVER.replace("@SAMPLES@", str(SAMPLES)).replace("@WORDS@", str(len(case.space.words))).replace("@PUT@", " ".join(puts))
    (tmp_path / "all.cpp").write_text(driver)
    steps = [2.0**-kind.fraction for _, _, _, kind in kept]
    sets = [np.concatenate([part / step for part, step in zip(values(case, fault), steps, strict=True)]) for fault in case.faults]
    np.stack(sets).astype(np.int64).tofile(tmp_path / "sets.bin")
    channels_last(case.x).astype(np.float64).tofile(tmp_path / "x.bin")
    includes = [f"-I{case.folder / 'net'}", f"-I{firmware / 'ap_types'}", f'-DWEIGHTS_DIR="{firmware / "weights"}"']
    run(GXX, ["-std=c++17", "-O1", "-w", *includes, "all.cpp", "-o", "all"], cwd=tmp_path, log=tmp_path / "log")
    run(Tool("all", ((str(tmp_path / "all"),),), ""), [], cwd=tmp_path, log=tmp_path / "log")
    assert np.array_equal(np.fromfile(tmp_path / "y.bin", np.float64).reshape(case.y.shape), case.y)


def test_the_lowered_logic_gives_the_outputs_of_the_twin_for_every_fault(case):
    x = channels_last(case.x)
    for fault, y in zip(case.faults, case.y, strict=True):
        assert np.array_equal(lower(faulty(case, fault)).predict(x), y)


@pytest.mark.skipif(missing(simulator()), reason="there is no simulator")
def test_the_verilog_gives_the_outputs_of_the_twin(case, tmp_path):
    """Faulty designs in one module side by side, the same inputs for all of them."""
    x, chosen = channels_last(case.x), range(0, len(case.faults), RTL_EVERY)
    assert len(chosen) > 50
    texts, pins, ports, end = {}, [], [], 0
    for number in chosen:
        graph, folder = faulty(case, case.faults[number]), tmp_path / "v"
        manifest = verilog.write(lower(graph), graph, folder, part=PART, clock_ns=5.0, logic_per_stage=1000.0)
        assert manifest.latency == 2
        own = re.compile(rf"\b({verilog.NAME}|{manifest.top}|{'|'.join(manifest.stages)})\b(?= [\w(])")
        for name in manifest.sources:
            text, new = (folder / name).read_text(), name.rpartition("/")[2]
            if new[:-2] in (verilog.NAME, manifest.top, *manifest.stages):
                text, new = own.sub(rf"f{number}_\1", text), f"f{number}_{new}"
            texts[new] = text
        shutil.rmtree(folder)
        port = manifest.output
        pins.append(
            f"  f{number}_{manifest.top} d{number} (.clk(clk), .model_inp(model_inp), .model_out(model_out[{end} +: {port.width}]));\n"
        )
        ports.append((end, port))
        end += port.width
    assert manifest.input.width == 16 * 5
    texts["all.v"] = f"module all (input clk, input [79:0] model_inp, output [{end - 1}:0] model_out);\n{''.join(pins)}endmodule\n"
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    top, width = dataclasses.replace(manifest, top="all", output=Port("model_out", end, ())), -(-end // 8)
    tools = simulator()
    job = tiny.job(Stage("toy", lambda job: None, tools=tools), tmp_path / "job")
    raw, unknown = stream(job, [tmp_path / n for n in texts], top, manifest.input.pack(x), tools, np.zeros((SAMPLES, width), np.uint8))
    bits = np.unpackbits(raw[1 : 1 + SAMPLES], axis=1, bitorder="little")
    assert not unknown[1 : 1 + SAMPLES].any()
    for number, (at, port) in zip(chosen, ports, strict=True):
        got = port.unpack(np.packbits(bits[:, at : at + port.width], axis=1, bitorder="little"))
        assert np.array_equal(got, case.y[number]), number
