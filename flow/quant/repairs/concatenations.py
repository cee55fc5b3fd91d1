"""Join two tensors at a time: hls4ml joins no more."""

import onnx
from onnx import helper

from flow.quant.repairs._graph import attribute, nodes, replace

TITLE = "concatenations of two tensors"


def apply(model: onnx.ModelProto) -> int:
    """Return how many concatenations had more than two inputs."""
    changed = 0
    for node in nodes(model, "Concat"):
        if len(node.input) < 3:
            continue
        axis, y, names = attribute(node, "axis", 1), node.output[0], list(node.input)
        steps = [f"{y}_{i}" for i in range(2, len(names))] + [y]
        firsts = [names[0], *steps]
        new = [
            helper.make_node("Concat", [first, second], [step], name=step, axis=axis)
            for first, second, step in zip(firsts, names[1:], steps, strict=False)
        ]
        replace(model, node, new)
        changed += 1
    return changed
