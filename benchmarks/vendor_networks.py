"""Networks of others whose weights and Vivado figures are public, as far as a folder of reports leaves out their C++.

The types, shapes and strategies are those of ``firmware/defines.h`` and ``parameters.h`` in the repository and commit that
``SOURCE.json`` beside the reports names. A project with its C++ is read by `flow.vendor.firmware` instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flow.core.errors import MissingInput
from flow.rtl.graph import FixedType, Graph, Layer
from flow.vendor.firmware import read_project, read_weights

DEFAULT = FixedType(True, 16, 6)


@dataclass(frozen=True)
class Network:
    """A network and where its reports are.

    Attributes:
        title: for tables.
        folder: below the folder of reports.
        part: FPGA part of the reports.
        clock_ns: its clock period.
        describe: makes the graph from ``firmware/weights`` where the C++ is missing.
        note: what differs between the two designs.
    """

    title: str
    folder: str
    part: str
    clock_ns: float
    describe: Callable[[Path], Graph]
    note: str

    def graph(self, reports: Path) -> Graph:
        """Read the network.

        Raises:
            MissingInput: its weights are not there.
            InvalidInput: a file is damaged.
        """
        folder = reports / self.folder
        try:
            return read_project(folder).graph
        except MissingInput:
            return self.describe(folder / "firmware" / "weights")


def encoder(weights: Path) -> Graph:
    """ECON-T encoder: 8 x 8 -> convolution 3 x 3 with 8 filters, stride 2 -> 128 -> 16, at 6-bit weights."""
    port, weight = FixedType(True, 11, 4, "RND_CONV", "SAT"), FixedType(True, 6, 2)
    hidden, last = FixedType(False, 12, 3, "RND_CONV", "SAT"), FixedType(False, 9, 1, "RND_CONV", "SAT")
    pads = {"pad_top": 0, "pad_bottom": 1, "pad_left": 0, "pad_right": 1}
    conv = {"stride_height": 2, "stride_width": 2, **dict.fromkeys(pads, 0)}
    w3, b3 = read_weights(weights / "w3.txt", 72).reshape(3, 3, 1, 8), read_weights(weights / "b3.txt", 8)
    # hls4ml stores the weights of the strategy `resource`, which the dense layer has, with the outputs first.
    w7, b7 = read_weights(weights / "w7.txt", 2048).reshape(16, 128).T, read_weights(weights / "b7.txt", 16)
    first = {"weight": (w3, weight), "bias": (b3, weight)}
    return Graph((
        Layer("input_1", "Input", (), (8, 8, 1), port),
        Layer("zp2d_conv2d_0_m", "ZeroPadding2D", ("input_1",), (9, 9, 1), port, pads),
        Layer("conv2d_0_m", "Conv2D", ("zp2d_conv2d_0_m",), (4, 4, 8), DEFAULT, conv, first, DEFAULT),
        Layer("accum1_qa", "Activation", ("conv2d_0_m",), (4, 4, 8), hidden, {"activation": "relu"}),
        Layer("flatten", "Reshape", ("accum1_qa",), (128,), hidden),
        Layer("encoded_vector", "Dense", ("flatten",), (16,), DEFAULT, {}, {"weight": (w7, weight), "bias": (b7, weight)}, DEFAULT),
        Layer("encod_qa", "Activation", ("encoded_vector",), (16,), last, {"activation": "relu"}),
    ))  # fmt: skip


def jets(weights: Path) -> Graph:
    """Jet tagger 16 -> 64 -> 32 -> 32 -> 5 at ``ap_fixed<16,6>`` throughout; its softmax is left out."""
    layers = [Layer("input", "Input", (), (16,), DEFAULT)]
    for number, out in ((2, 64), (4, 32), (6, 32), (8, 5)):
        size = layers[-1].shape[0]
        kernel = DEFAULT.quantize(read_weights(weights / f"w{number}.txt", size * out).reshape(size, out))
        bias = DEFAULT.quantize(read_weights(weights / f"b{number}.txt", out))
        values = {"weight": (kernel, DEFAULT), "bias": (bias, DEFAULT)}
        layers.append(Layer(f"fc{number}", "Dense", (layers[-1].name,), (out,), DEFAULT, {}, values, DEFAULT))
        if number < 8:
            layers.append(Layer(f"relu{number}", "Activation", (layers[-1].name,), (out,), DEFAULT, {"activation": "relu"}))
    return Graph(tuple(layers))


def one_position(graph: Graph) -> tuple[Graph, Graph]:
    """Cut the encoder into what a streaming design holds once: the convolution at one position, and the dense layer."""
    known = {layer.name: layer for layer in graph.layers}
    conv, relu = known["conv2d_0_m"], known["accum1_qa"]
    window = Layer("window", "Input", (), (3, 3, 1), known["input_1"].type)
    first = Graph((
        window,
        Layer(conv.name, conv.kind, ("window",), (1, 1, 8), conv.type, conv.attributes, conv.weights, conv.accumulator),
        Layer(relu.name, relu.kind, (conv.name,), (1, 1, 8), relu.type, relu.attributes),
    ))  # fmt: skip
    dense = known["encoded_vector"]
    second = Graph((
        Layer("hidden", "Input", (), (int(np.prod(relu.shape)),), relu.type),
        Layer(dense.name, dense.kind, ("hidden",), dense.shape, dense.type, {}, dense.weights, dense.accumulator),
        graph.output,
    ))  # fmt: skip
    return first, second


NETWORKS = (
    Network(
        "ECON-T encoder", "oliviaweng__fastml-science/sensor-data-compression__pynq_z2_2samples__hls4ml_prj", "xc7z020clg400-1", 5.0,
        encoder,
        "Vivado's design takes a stream: one position of the convolution at a time, a new sample every 92 cycles, with line buffers and "
        "FIFOs.",
    ),
    Network(
        "Jet tagger 16-64-32-32-5", "astitwlathe__example-hls4ml/my-hls-test", "xcvu9p-flga2104-2L-e", 5.0, jets,
        "Vivado's design has a softmax (78 LUTs, 5 DSP slices and 4 block RAMs by HLS) and multiplies in DSP slices.",
    ),
)  # fmt: skip
