"""Measure random networks with the open back end, for the fast estimate: ``python -m benchmarks.estimate_data WORK_FOLDER``.

Each network is lowered, written as Verilog and mapped by Yosys; what is finished in the folder is not done again. Its table replaces
``flow/estimate/calibration.json``.
"""

import argparse
import importlib.metadata
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import say
from flow.core.tool import YOSYS
from flow.core.tool import run as run_tool
from flow.estimate.features import features, levels_per_stage, signed_digits
from flow.estimate.model import CALIBRATION
from flow.rtl import fabric
from flow.rtl.graph import Array, FixedType, Graph, Layer, Rounding
from flow.rtl.lower import lower
from flow.rtl.ports import Manifest
from flow.rtl.verilog import write
from flow.synth import open as back_end
from flow.synth._parts import find_part
from flow.synth._plan import Command, Report

NETWORKS = 44
PARTS = ("xcku115-flvb2104-2-i", "xcvu9p-flga2104-2-e", "xc7z020clg400-1")  # in turn: one of each family of Xilinx
CLOCKS_NS = (4.0, 5.0, 6.0, 8.0, 10.0)
LIMITS = (60, 8_000)  # signed digits of all products, of the networks that are taken
PADS = ("pad_top", "pad_bottom", "pad_left", "pad_right")
Rng = np.random.Generator


@dataclass
class Builder:
    """A network that grows, with what 64 random samples become in it, so that its words fit as those of a trained network do.

    Attributes:
        rng: source of everything random.
        bits: of the weights.
        sparsity: share of the weights that are set to zero.
        hidden: width of hidden words.
        rounding: of hidden words and outputs.
        layers: so far.
        x: (64, ...) values of the last layer.
    """

    rng: Rng
    bits: int
    sparsity: float
    hidden: int
    rounding: Rounding
    layers: list[Layer]
    x: Array

    @property
    def last(self) -> Layer:
        """The layer that the next one reads."""
        return self.layers[-1]

    def weights(self, *shape: int) -> tuple[Array, FixedType]:
        """Draw normal weights; three standard deviations fill the range."""
        top = 2 ** (self.bits - 1) - 1
        codes = np.clip(np.rint(self.rng.normal(0, max(top / 3, 0.7), shape)), -top, top) * (self.rng.random(shape) >= self.sparsity)
        codes.flat[0] = top
        kept = FixedType(True, self.bits, 1)
        return np.ldexp(codes, -kept.fraction), kept

    def product(self, layer: Layer, weight: tuple[Array, FixedType], sums: Array) -> None:
        """Add a layer whose accumulator keeps every bit; its bias is as large as a third of its sums."""
        fraction, spread = self.last.type.fraction + weight[1].fraction, float(sums.std()) + 1e-9
        bias = np.rint(np.ldexp(self.rng.normal(0, spread / 3, layer.shape[-1]) * (self.rng.random() < 0.8), fraction))
        width = int(np.abs(bias).max()).bit_length() + 1
        kept = FixedType(True, width, width - fraction)
        integer = max(self.last.type.integer + weight[1].integer + math.ceil(math.log2(weight[0].size)), kept.integer) + 2
        wide = FixedType(True, integer + fraction, integer)
        weights = {"weight": weight, "bias": (np.ldexp(bias, -fraction), kept)}
        self.layers.append(Layer(layer.name, layer.kind, (self.last.name,), layer.shape, wide, layer.attributes, weights, wide))
        self.x = sums + weights["bias"][0]

    def activation(self, name: str, activation: str, width: int, signed: bool) -> None:
        """Add a quantizer that clips one word in a hundred."""
        top = float(np.quantile(np.abs(self.x), 0.99)) + 1e-9
        kept = FixedType(signed, width, math.ceil(math.log2(top)) + signed, self.rounding, "SAT")
        self.layers.append(Layer(name, "Activation", (self.last.name,), self.last.shape, kept, {"activation": activation}))
        self.x = kept.quantize(np.maximum(self.x, 0) if activation == "relu" else self.x)

    def dense(self, name: str, out: int) -> None:
        """Add a dense layer."""
        if self.x.ndim > 2:
            self.x = self.x.reshape(len(self.x), -1)
            self.layers.append(Layer("flat", "Reshape", (self.last.name,), self.x.shape[1:], self.last.type))
        weight = self.weights(self.x.shape[1], out)
        self.product(Layer(name, "Dense", (), (out,), self.last.type), weight, self.x @ weight[0])

    def convolution(self) -> None:
        """Add a convolution 3 x 3 and its ReLU, sometimes with max pooling."""
        filters, stride, pad = int(self.rng.integers(2, 9)), int(self.rng.integers(1, 3)), int(self.rng.integers(0, 2))
        weight = self.weights(3, 3, self.x.shape[-1], filters)
        padded = np.pad(self.x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
        sums = np.einsum("nyxcij,ijcf->nyxf", windows, weight[0])
        steps = {"stride_height": stride, "stride_width": stride}
        conv = {**steps, **dict.fromkeys(PADS, pad)}
        self.product(Layer("conv", "Conv2D", (), sums.shape[1:], self.last.type, conv), weight, sums)
        self.activation("relu", "relu", self.hidden, False)
        side = self.x.shape[1] // 2
        if side and self.rng.random() < 0.3:
            pool = {"pool_op": "max", "pool_height": 2, "pool_width": 2, "stride_height": 2, "stride_width": 2, **dict.fromkeys(PADS, 0)}
            self.layers.append(Layer("pool", "Pooling2D", ("relu",), (side, side, filters), self.last.type, pool))
            kept = self.x[:, : 2 * side, : 2 * side]
            self.x = kept.reshape(len(kept), side, 2, side, 2, filters).max(axis=(2, 4))


def draw(seed: int) -> tuple[Graph, str, float]:
    """Return a random network, its part and its clock period in ns; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    target = math.exp(rng.uniform(math.log(LIMITS[0]), math.log(LIMITS[1])))
    while True:
        graph = _network(rng)
        if 0.5 < _digits(graph) / target < 2:
            return graph, PARTS[seed % len(PARTS)], float(rng.choice(CLOCKS_NS))


def _digits(graph: Graph) -> int:
    """Count signed digits, which must not depend on the features that are to be calibrated."""
    total = 0
    for layer in graph.layers:
        if "weight" in layer.weights:
            value, kept = layer.weights["weight"]
            total += int(signed_digits(np.ldexp(value, kept.fraction).astype(np.int64)).sum()) * math.prod(layer.shape[:-1])
    return total


def _network(rng: Rng) -> Graph:
    """Dense, or convolution first; 2 to 10 bits, up to 90 % of zero weights, both roundings."""
    bits, hidden = int(rng.integers(2, 11)), int(rng.integers(3, 11))
    sparsity = float(rng.choice([0.0, rng.uniform(0, 0.9)]))
    rounding: Rounding = "RND_CONV" if rng.random() < 0.5 else "TRN"
    port = FixedType(bool(rng.random() < 0.3), int(rng.integers(4, 13)), 2, "RND_CONV", "SAT")
    convolution = bool(rng.random() < 0.4)
    side = int(rng.integers(4, 9))
    shape = (side, side, int(rng.integers(1, 4))) if convolution else (int(rng.integers(4, 65)),)
    x = np.ldexp(rng.integers(port.range[0], port.range[1] + 1, (64, *shape)).astype(float), -port.fraction)
    net = Builder(rng, bits, sparsity, hidden, rounding, [Layer("in", "Input", (), shape, port)], x)
    if convolution:
        net.convolution()
    for i in range(int(rng.integers(0, 4))):
        net.dense(f"hidden{i}", int(rng.integers(4, 65)))
        net.activation(f"relu{i}", "relu", hidden, False)
    net.dense("out", int(rng.integers(1, 17)))
    net.activation("words", "linear", int(rng.integers(6, 13)), True)
    return Graph(tuple(net.layers))


def measure(graph: Graph, part: str, clock_ns: float, folder: Path) -> dict[str, Any]:
    """Lower and map one network.

    Args:
        graph: the network.
        part: FPGA part.
        clock_ns: clock period, which decides about the pipeline.
        folder: is created.

    Returns:
        Its counts and times in seconds.
    """
    start = time.process_time()
    lowered = lower(graph)
    seconds = time.process_time() - start
    manifest = write(lowered, graph, folder / "verilog", part=part, clock_ns=clock_ns, logic_per_stage=None)
    report = mapped(folder / "verilog", part, folder / "synth")
    start = time.perf_counter()
    _features(graph, part, clock_ns)
    quick = time.perf_counter() - start
    return {
        "part": part, "clock_ns": clock_ns, "tool": report.tool,
        "lut": report.total.lut, "lut6_packed": report.total.lut6_packed, "ff": report.total.ff, "latency_cycles": manifest.latency,
        "alkaid_cost": round(float(lowered.logic.cost)),
        "seconds": {"lower": round(seconds, 3), "features": round(quick, 5)}, "counts": asdict(report.total),
    }  # fmt: skip


def _features(graph: Graph, part: str, clock_ns: float) -> dict[str, float]:
    return {k: round(v, 4) for k, v in features(graph, levels_per_stage(part, clock_ns, None)).items()}


def mapped(verilog: Path, part: str, work: Path) -> Report:
    """Run the open back end on a folder of Verilog."""
    manifest = Manifest.load(verilog / "manifest.json")
    plan = back_end.plan({name: (verilog / name).read_text() for name in manifest.sources}, manifest, find_part(part))
    plan.write(work)

    def call(command: Command) -> None:
        run_tool(YOSYS, command.args, cwd=work, log=work / "log.txt")

    plan.execute(call)
    return back_end.read(work)


def table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the document that `flow.estimate.model` reads."""
    kept = ("features", "part", "clock_ns", "lut", "lut6_packed", "ff", "latency_cycles", "alkaid_cost", "seconds")
    return {
        "source": f"{rows[0]['tool']}, alkaid {importlib.metadata.version('alkaid')}", "delay_model": fabric.VERSION,
        "rows": [{k: row[k] for k in kept} for row in rows],
    }  # fmt: skip


def main(argv: Sequence[str] | None = None, save: Callable[[str], object] = CALIBRATION.write_text) -> int:
    """Measure all networks and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimate_data", description=__doc__)
    parser.add_argument("work", type=Path, help="folder for Verilog and netlists; what is there is not done again")
    parser.add_argument("--networks", type=int, default=NETWORKS)
    args = parser.parse_args(argv)
    rows = []
    for seed in range(args.networks):
        folder = args.work / f"{seed:02d}"
        file = folder / "row.json"
        graph, part, clock_ns = draw(seed)
        if not file.is_file():
            file.write_text(json.dumps(measure(graph, part, clock_ns, _empty(folder))))
        rows.append({**json.loads(file.read_text()), "features": _features(graph, part, clock_ns)})
        say(f"{seed:3d}  {rows[-1]['lut']:6d} LUT  {rows[-1]['ff']:6d} FF  {rows[-1]['latency_cycles']:3d} cycles")
    save(json.dumps(table(rows), indent=1) + "\n")
    return 0


def _empty(folder: Path) -> Path:
    """Move the remains of an interrupted network out of the way."""
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.{time.time_ns()}"))
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
