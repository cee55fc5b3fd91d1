"""QONNX file -> hls4ml project for Vitis HLS, and hls4ml's optimized graph as plain data."""

import re
from pathlib import Path
from typing import Any, TextIO

import hls4ml
import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
from qonnx.transformation.gemm_to_matmul import GemmToMatMul
from qonnx.util.cleanup import cleanup_model

from flow.core.errors import InvalidInput
from flow.gate import channels_last
from flow.quant.export import quiet
from flow.rtl.graph import Graph, from_hls4ml

STAMP = "hlscape"  # hls4ml draws a random one, which would make equal projects differ


def convert(qonnx: Path, folder: Path, name: str, part: str, clock_ns: float, log: TextIO) -> Graph:
    """Write the hls4ml project of a network (Vitis back end, io_parallel, everything unrolled) to `folder`.

    Args:
        qonnx: repaired QONNX file.
        folder: project folder to be made.
        name: top-level function.
        part: FPGA part.
        clock_ns: clock period.
        log: for the words of the libraries.

    Returns:
        The optimized graph with its exact types.

    Raises:
        InvalidInput: hls4ml cannot convert the network.
    """
    with quiet(log):
        try:
            graph = _prepare(qonnx)
            model = _build(graph, folder, name, part, clock_ns)
            lowered = from_hls4ml(model)
            model.write()
        except (RuntimeError, ValueError, KeyError, IndexError, AssertionError, NotImplementedError) as error:
            raise InvalidInput(
                f"hls4ml cannot convert {qonnx.name}: {type(error).__name__}: {error}. The log of the stage has the details."
            ) from error
    _make_reproducible(folder, name, str(model.config.config["Stamp"]))
    return lowered


def _prepare(qonnx: Path) -> ModelWrapper:
    graph = cleanup_model(ModelWrapper(str(qonnx)))
    if any(node.op_type in ("Conv", "MaxPool") for node in graph.graph.node):
        graph = graph.transform(ConvertToChannelsLastAndClean(make_input_channels_last=True))
    return cleanup_model(graph.transform(GemmToMatMul()))


def _input_type(graph: ModelWrapper) -> str:
    """Return the type of the first quantizer: the host delivers its codes, so the input port has just these bits."""
    first = graph.find_consumer(graph.graph.input[0].name)
    if first is None or first.op_type not in ("Quant", "IntQuant"):
        raise InvalidInput("The network does not quantize its input first, so the type of its input port is not known.")
    scale, _, bits = (float(np.ravel(graph.get_initializer(i))[0]) for i in first.input[1:4])
    signed = next(a.i for a in first.attribute if a.name == "signed")
    integer = int(bits) + int(np.log2(scale))
    return f"{'fixed' if signed else 'ufixed'}<{int(bits)},{integer}>"


def _build(graph: ModelWrapper, folder: Path, name: str, part: str, clock_ns: float) -> Any:  # noqa: ANN401 - hls4ml has no types
    config = hls4ml.utils.config_from_onnx_model(graph, granularity="name", backend="Vitis", default_precision="fixed<16,6>")
    config["LayerName"][graph.graph.input[0].name] = {"Precision": {"result": _input_type(graph)}}
    model = hls4ml.converters.convert_from_onnx_model(
        graph,
        output_dir=str(folder),
        project_name=name,
        io_type="io_parallel",
        backend="Vitis",
        hls_config=config,
        part=part,
        clock_period=clock_ns,
    )
    model.config.trace_output = True
    for layer in model.get_layers():
        layer.set_attr("trace", True)
    return model


def _make_reproducible(folder: Path, name: str, stamp: str) -> None:
    """Remove the random stamp and the path of this machine from the project, and keep its testbench from writing layer logs."""
    for file in (folder / "build_lib.sh", folder / "hls4ml_config.yml", folder / "project.tcl"):
        text = file.read_text().replace(stamp, STAMP)
        file.write_text(re.sub(r"^OutputDir:.*$", "OutputDir: .", text, flags=re.M))
    bench = folder / f"{name}_test.cpp"
    bench.write_text(bench.read_text().replace("bool trace_enabled = true", "bool trace_enabled = false"))
    for archive in folder.glob("*.tar.gz"):
        archive.unlink()


def write_testbench_data(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Give the project's C++ testbench input vectors and the outputs that must come out, one sample a line."""
    for name, rows in (("tb_input_features.dat", channels_last(x)), ("tb_output_predictions.dat", y)):
        (folder / "tb_data").mkdir(exist_ok=True)
        np.savetxt(folder / "tb_data" / name, rows.reshape(len(rows), -1), fmt="%.17g")
