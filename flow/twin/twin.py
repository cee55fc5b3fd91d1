"""The twin: an exported QONNX graph as a pure function of its parameters and inputs."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from flow.core.errors import InvalidInput
from flow.twin.analysis import Analysis, analyse
from flow.twin.graph import Graph, Node, read_graph
from flow.twin.normal import normal
from flow.twin.ops import OPERATIONS, SILENT
from flow.twin.quantizer import Format, WeightFormat, quantize, quantize_ste, to_integers


class Twin:
    """A quantized network as a pure torch function, verified by its arithmetic to be exact.

    All values are integers times a power of two. An interval analysis at loading bounds every accumulator for any weights of the given
    widths; the twin computes in float32 where all of them are at most 2**24, and as a whole in float64 where not. So the result does not
    depend on the order of summation, the batch size or the device. Convolutions are matrix products of patches: faster than the
    library's convolution for second derivatives on a CPU, and never a transform-domain algorithm, which would round.

    Every method works under `torch.func` (`grad`, `hessian`, `vmap` over parameters, codes or inputs).

    Attributes:
        params: float values of the weights and biases by initializer name; each feeds a quantizer. Pass these, or others of the same
            shapes, to the methods.
        weights: the number format of each of them, its role and its layer.
        dtype: of `params` and of all results.
        input_shape: shape of one sample.
        input_format: format of the first quantizer.
        output_format: format of the last quantizer before the output; None if the output is an accumulator.
    """

    def __init__(self, graph: Graph, analysis: Analysis) -> None:
        self._graph, self._formats, self._static = graph, analysis.formats, analysis.static
        self.dtype = analysis.dtype
        self.weights: dict[str, WeightFormat] = analysis.weights
        self.params = {name: torch.tensor(graph.constants[name]).to(self.dtype) for name in analysis.weights}
        self._constants = {
            name: torch.tensor(value).to(self.dtype if value.dtype.kind == "f" else torch.int64)
            for name, value in graph.constants.items()
            if name not in self.params
        }
        self.input_shape = graph.input_shape
        self.input_format: Format = analysis.input_format
        self.output_format: Format | None = analysis.output_format

    def _walk(self, quantized: Mapping[str, Tensor], x: Tensor, ste: bool) -> dict[str, Tensor]:
        """Evaluate all nodes.

        Args:
            quantized: quantized values of the parameters, by initializer name.
            x: inputs (N, *input_shape).
            ste: with straight-through gradients; without is faster.
        """
        values: dict[str, Tensor] = {**self._constants, self._graph.input: x.to(self.dtype)}
        for node in self._graph.nodes:
            form = self._formats.get(node.name)
            if form is None:
                values[node.output] = OPERATIONS[node.op].run(node, [values[name] for name in node.inputs if name])
            elif node.inputs[0] in quantized:
                values[node.output] = quantized[node.inputs[0]]
            else:
                made = (quantize_ste if ste else quantize)(values[node.inputs[0]], form).to(self.dtype)
                values[node.output] = self._activation(node.name, made)
        return values

    def _activation(self, name: str, value: Tensor) -> Tensor:
        """Return what goes on from the quantizer of the data with this node name; a twin of protected hardware bounds it here."""
        return value

    def __call__(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Evaluate the network with straight-through gradients.

        Args:
            params: a tensor for each name of `params`.
            x: inputs (N, *input_shape), any real values: the first quantizer rounds them.

        Returns:
            Outputs (N, ...), exactly what the hardware computes.
        """
        return self._walk(self.quantized(params), x, ste=True)[self._graph.output]

    def layers(self, params: Mapping[str, Tensor], x: Tensor) -> dict[str, Tensor]:
        """Evaluate the network and return what each of its nodes makes of the data.

        Returns:
            Name of the ONNX node -> its output (N, ...), in the order of execution, of every node that computes (quantizers of
            activations, accumulators, Relu, pooling; not reshapes).
        """
        values = self._walk(self.quantized(params), x, ste=False)
        return {n.name: values[n.output] for n in self._graph.nodes if n.name in self.computes}

    def codes(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the integers that are deployed for the weights and biases.

        Returns:
            Initializer name -> int64 codes of the parameter's shape, in the range of the quantizer.
        """
        return {n: to_integers(params[n], form).clamp(form.low, form.high).to(torch.int64) for n, form in self.weights.items()}

    def forward_codes(self, codes: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Evaluate the network with these integers in the place of its weights and biases, at frozen scales.

        Nothing is clamped or scaled anew: a fault may set a code that the quantizer never makes, such as -2**(bits - 1).

        Args:
            codes: integers for each name of `params`.
            x: inputs (N, *input_shape).

        Returns:
            Outputs (N, ...), without gradient through the quantizers.
        """
        values = {name: codes[name].to(self.dtype) for name in self.weights}
        return self.forward_values({n: v * self.weights[n].steps(v) for n, v in values.items()}, x)

    def forward_values(self, values: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Evaluate the network with these values in the place of its quantized weights and biases; activations are quantized.

        Args:
            values: real numbers for each name of `params`. Exact if they are on the grid of the weights.
            x: inputs (N, *input_shape).

        Returns:
            Outputs (N, ...), without gradient through the quantizers.
        """
        return self._walk(values, x, ste=False)[self._graph.output]

    def quantized(self, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the quantizers make of the parameters: what `forward_values` takes; with straight-through gradients."""
        return {name: quantize_ste(params[name], form) for name, form in self.weights.items()}

    @property
    def computes(self) -> frozenset[str]:
        """Names of the nodes that compute on the data: not those that make weights or only move values."""
        return frozenset(n.name for n in self._graph.nodes if n.output not in self._static and n.op not in SILENT)

    @property
    def activation_formats(self) -> dict[str, Format]:
        """Format of each quantizer of the data, by node name, in the order of execution."""
        return {n.name: self._formats[n.name] for n in self._graph.nodes if n.name in self._formats and n.output not in self._static}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes of the graph in the order of execution."""
        return self._graph.nodes


def load_twin(path: Path, approximate: bool = False) -> Twin:
    """Load a QONNX file as exported by Brevitas.

    Args:
        path: the ``.onnx`` file.
        approximate: accept any positive scales, averages and batch normalisation, and compute in float64 without a claim to be exact:
            the reference that the error of `flow.quant.approximate` is measured against.

    Raises:
        MissingInput: there is no such file.
        InvalidInput: it is not an ONNX file, it was cut off, it is not quantized with power-of-two scales, or it uses an operator that
            cannot be used. The message names the node and says what to do.
    """
    graph = read_graph(path)
    try:
        graph = normal(graph, exact=not approximate)
        return Twin(graph, analyse(graph, exact=not approximate))
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None
