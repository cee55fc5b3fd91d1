"""QONNX file -> hls4ml project for Vitis HLS, and hls4ml's optimized graph as plain data."""

import copy
import json
import math
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TextIO

import hls4ml
import numpy as np
import onnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.general import RemoveUnusedTensors
from qonnx.transformation.remove import RemoveUnusedNodes
from qonnx.util.cleanup import cleanup_model

from flow.core.errors import FlowError, InvalidInput
from flow.core.plugins import load, names
from flow.gate import channels_last
from flow.hls import adder_trees
from flow.hls.channels_last import to_channels_last
from flow.hls.settings import QUANTIZERS, attributes, complete, quantizer_type, settings
from flow.rtl.graph import Graph, from_hls4ml

Io = Literal["parallel", "stream"]
Strategy = Literal["latency", "resource", "distributed_arithmetic"]
UNKNOWN = "fixed<40,20>"  # where hls4ml loses a type, of a constant that it merges with another; wide, so that nothing is rounded
STAMP = "hlscape"  # hls4ml draws a random one, which would make equal projects differ


@dataclass(frozen=True)
class Hls:
    """What high-level synthesis is asked for; it changes the C++ but not one value that the network computes.

    Attributes:
        strategy: of hls4ml.
        reuse_factor: how often one multiplier is used for a sample; hls4ml may take another one for a layer.
        clock_uncertainty: share of the clock period that is left free, in percent.
    """

    strategy: Strategy = "latency"
    reuse_factor: int = 1
    clock_uncertainty: float = 27.0


def convert(qonnx: Path, folder: Path, name: str, part: str, clock_ns: float, io: Io, log: TextIO, hls: Hls = Hls()) -> Graph:
    """Write the hls4ml project of a network (Vitis back end) to `folder`.

    Args:
        qonnx: repaired QONNX file.
        folder: project folder to be made.
        name: top-level function.
        part: FPGA part.
        clock_ns: clock period.
        io: ``parallel`` takes all words of a sample at once and unrolls everything, ``stream`` takes them pixel by pixel.
        log: for the words of the libraries.
        hls: strategy, reuse factor, uncertainty of the clock.

    Returns:
        The optimized graph with its exact types.

    Raises:
        InvalidInput: hls4ml cannot convert the network.
    """
    with redirect_stdout(log), redirect_stderr(log), adder_trees.repaired():
        try:
            graph = _prepare(qonnx, io, log)
            plain = _build(copy.deepcopy(graph), folder, name, part, clock_ns, io, Hls(clock_uncertainty=hls.clock_uncertainty))
            lowered = from_hls4ml(plain)  # other strategies permute the weights, or have none
            same = (hls.strategy, hls.reuse_factor) == (Hls.strategy, Hls.reuse_factor)
            model = plain if same else _build(graph, folder, name, part, clock_ns, io, hls)
            model.write()
        except FlowError:
            raise
        except Exception as error:  # hls4ml raises that very class where it cannot go on
            raise InvalidInput(
                f"hls4ml cannot convert {qonnx.name}: {type(error).__name__}: {error}. The log of the stage has the details."
            ) from error
    _finish(folder, name, str(model.config.config["Stamp"]))
    sizes = {row["name"]: row for row in map(taken, plain.get_layers())}  # adder trees have no weights
    rows = [{**sizes.get(row["name"], {}), **row} for row in map(taken, model.get_layers()) if row["kind"] != "Input"]
    _describe(folder, name, io, lowered, rows)
    return lowered


def _prepare(qonnx: Path, io: Io, log: TextIO) -> ModelWrapper:
    """Repair the graph, put its channels last, and refuse what hls4ml would compute wrongly."""
    model = onnx.load(str(qonnx))
    changes = {name: load("quant.repairs", name).apply(model) for name in names("quant.repairs")}
    log.write(f"repairs: {changes}\n")
    graph = cleanup_model(ModelWrapper(model))
    for node in graph.graph.node:
        if node.op_type in QUANTIZERS:
            complete(node, rounding_mode="ROUND")
    to_channels_last(graph)
    for node in graph.graph.node:
        value = graph.get_initializer(node.input[0])
        if node.op_type in QUANTIZERS and value is not None:
            graph.set_initializer(node.input[0], quantizer_type(graph, node).quantize(value).astype(np.float32))
    for node in graph.graph.node if io == "stream" else ():
        if node.op_type == "MaxPool" and any(attributes(node)["pads"]):
            raise InvalidInput(
                f"Node '{node.name}' (MaxPool): with hardware.io = 'stream' signed words cannot be padded. Pool behind a ReLU, or without "
                "padding, or use hardware.io = 'parallel'."
            )
    return graph.transform(RemoveUnusedNodes()).transform(RemoveUnusedTensors())


def _build(graph: ModelWrapper, folder: Path, name: str, part: str, clock_ns: float, io: Io, hls: Hls) -> Any:  # noqa: ANN401 - no types
    config = hls4ml.utils.config_from_onnx_model(graph, granularity="name", backend="Vitis", default_precision=UNKNOWN)
    layers, source = config["LayerName"], graph.graph.input[0].name
    first = graph.find_consumer(source)
    port = quantizer_type(graph, first, "The network does not quantize its input first, so the type of its input port is not known.")
    layers[source] = {"Precision": {"result": str(replace(port, rounding="TRN", saturation="WRAP"))}}
    for node in graph.graph.node:
        layers.get(node.name, {}).update(settings(graph, node))
    config["Model"] |= {"Strategy": hls.strategy, "ReuseFactor": hls.reuse_factor}
    if hls.strategy != "latency":  # which is all that hls4ml has for these
        config["LayerType"] = {f"DepthwiseConv{n}D": {"Strategy": "latency"} for n in (1, 2)}
    for table in layers.values():  # they would come first
        table.pop("Strategy", None), table.pop("ReuseFactor", None)
    if hls.strategy == "resource" and io == "parallel":
        layers |= _limited(graph, hls.reuse_factor)
    model = hls4ml.converters.convert_from_onnx_model(
        graph,
        output_dir=str(folder),
        project_name=name,
        io_type=f"io_{io}",
        backend="Vitis",
        hls_config=config,
        part=part,
        clock_period=clock_ns,
        clock_uncertainty=f"{hls.clock_uncertainty:g}%",
    )
    model.config.trace_output = True
    for layer in model.get_layers():
        layer.set_attr("trace", True)
    return model


def _limited(graph: ModelWrapper, reuse_factor: int) -> dict[str, dict[str, int]]:
    """Return the reuse factors of convolutions, by hls4ml's later names.

    hls4ml's C++ for these is right only up to one column of the matrix (``nnet_conv2d_resource.h``), but nothing in it sees to that.
    """
    found = {}
    for node in graph.graph.node:
        if node.op_type == "Conv":
            shape = graph.get_tensor_shape(node.input[1])
            found[f"Conv{len(shape) - 2}D_{node.name}"] = {"ReuseFactor": min(reuse_factor, math.prod(shape[1:]))}
    return found


def _finish(folder: Path, name: str, stamp: str) -> None:
    """Remove the random stamp and the path of this machine from the project, and let its code run."""
    for file in (folder / "build_lib.sh", folder / "hls4ml_config.yml", folder / "project.tcl"):
        text = file.read_text().replace(stamp, STAMP)
        text = re.sub(r"^Stamp:.*$", f"Stamp: {STAMP}", text, flags=re.M)  # in quotes where the random one looks like a number
        file.write_text(re.sub(r"^OutputDir:.*$", "OutputDir: .", text, flags=re.M))
    bench = folder / f"{name}_test.cpp"
    text = bench.read_text().replace("bool trace_enabled = true", "bool trace_enabled = false")  # it would write layer logs
    line = "std::ofstream fout(RESULTS_LOG);"
    bench.write_text(text.replace(line, f"{line}\n    fout.precision(17); // every output word exactly"))
    # The line buffer pools with any stride, as it convolves; the assertion dates from a time when it did not.
    pooling = folder / "firmware" / "nnet_utils" / "nnet_pooling_stream.h"
    pooling.write_text(re.sub(r"^ *assert\(CONFIG_T::pool_\w+ == CONFIG_T::stride_.*\n", "", pooling.read_text(), flags=re.M))
    for archive in folder.glob("*.tar.gz"):
        archive.unlink()


def taken(layer: Any) -> dict[str, Any]:  # noqa: ANN401 - hls4ml has no types
    """Return what hls4ml took for one layer of its model.

    Returns:
        ``name``, ``kind``, ``strategy``, ``reuse_factor``; ``words`` of its output; and, if it multiplies, ``products`` for one
        position of the image, and ``positions`` that are computed side by side.
    """
    row = {"name": layer.name, "kind": layer.class_name, "strategy": str(layer.get_attr("strategy", "")).lower()}
    row |= {"reuse_factor": int(layer.get_attr("reuse_factor") or 1), "words": math.prod(map(int, layer.get_output_variable().shape))}
    if "weight" not in layer.weights:
        return row
    places = math.prod(int(layer.get_attr(key, 1)) for key in ("out_height", "out_width"))
    size = int(np.size(layer.weights["weight"].data))
    return row | {"products": size, "positions": places // int(layer.get_attr("n_partitions", places) or places)}


def _describe(folder: Path, name: str, io: Io, graph: Graph, rows: list[dict[str, Any]]) -> None:
    """Write what the C-simulation and the stages of synthesis need to know."""
    sizes = {layer.name: math.prod(layer.shape) for layer in graph.layers if layer.kind != "Input"}
    info = {
        "top": name,
        "io": io,
        "inputs": math.prod(graph.port.shape),
        "outputs": math.prod(graph.output.shape),
        "layers": sizes,
        "hls": rows,
    }
    (folder / "hlscape.json").write_text(json.dumps(info, indent=1) + "\n")


def write_testbench_data(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Give the project's C++ testbench input vectors and the outputs that must come out, one sample a line."""
    for name, rows in (("tb_input_features.dat", channels_last(x)), ("tb_output_predictions.dat", y)):
        (folder / "tb_data").mkdir(exist_ok=True)
        np.savetxt(folder / "tb_data" / name, rows.reshape(len(rows), -1), fmt="%.17g")
