"""One way to say each thing: what other opsets say by an input, and batch normalisation, in the words that the operators read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.twin.graph import Graph, Node
from flow.twin.grid import constant_grid

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "Pad": ("pads", "value"), "ReduceMax": ("axes",), "ReduceMean": ("axes",), "Squeeze": ("axes",), "Unsqueeze": ("axes",),
}  # fmt: skip


def _settings(node: Node, graph: Graph) -> Node:
    """Turn inputs that are settings into attributes, as in the first opsets."""
    given = {}
    for key, name in zip(("", *SETTINGS[node.op]), node.inputs, strict=False):
        if not key or not name:
            continue
        if name not in graph.constants:
            node.refuse(f"its {key} are not a constant of the file. Clean the file with qonnx.util.cleanup.")
        value = graph.constants[name]
        given[key] = float(value.reshape(-1)[0]) if key == "value" else tuple(int(v) for v in value.reshape(-1))
    if len(node.inputs) > 1 + len(SETTINGS[node.op]):
        node.refuse(f"it has {len(node.inputs)} inputs. Export with an opset of at most 17.")
    return replace(node, inputs=node.inputs[:1], attributes={**node.attributes, **given})


def _norm(node: Node, graph: Graph, exact: bool) -> tuple[Node, dict[str, NDArray[Any]]]:
    """Turn batch normalisation into a factor and a shift for each channel."""
    if len(node.inputs) != 5 or not set(node.inputs[1:]) <= set(graph.constants):
        node.refuse("its parameters are not constants of the file. Export the model in eval() mode.")
    gain, offset, mean, variance = (graph.constants[name].astype(np.float64) for name in node.inputs[1:])
    factor = gain / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    made = {f"{node.name}_factor": factor, f"{node.name}_shift": offset - mean * factor}
    if exact and any(constant_grid(value) is None for value in made.values()):
        node.refuse(
            "its factors are not binary fractions of 16 bits. Fold it before quantization-aware training, as norm=True of the layers does."
        )
    return replace(node, inputs=(node.inputs[0], *made)), made


def normal(graph: Graph, exact: bool = True) -> Graph:
    """Rewrite the nodes of a graph.

    Args:
        graph: as read from a file.
        exact: refuse batch normalisation whose factors are not on a short grid.

    Raises:
        InvalidInput: naming the node.
    """
    nodes, constants = [], dict(graph.constants)
    for node in graph.nodes:
        if node.op in SETTINGS:
            node = _settings(node, graph)  # noqa: PLW2901 - the same node in other words
        elif node.op == "BatchNormalization":
            node, made = _norm(node, graph, exact)  # noqa: PLW2901
            constants.update(made)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), constants=constants)
