"""Write a grouped convolution as an ordinary one with zeros between the groups: hls4ml knows one group, or one channel per group."""

from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from flow.quant.repairs._graph import attribute, copy, nodes, rearrange, replace, set_attributes, shapes

TITLE = "grouped kernels filled with zeros"


def _join(groups: int, weight: NDArray[Any]) -> NDArray[Any]:
    outputs, inputs = weight.shape[:2]
    whole = np.zeros((outputs, groups * inputs, *weight.shape[2:]), weight.dtype)
    for g in range(groups):
        rows = slice(g * outputs // groups, (g + 1) * outputs // groups)
        whole[rows, g * inputs : (g + 1) * inputs] = weight[rows]
    return whole


def apply(model: onnx.ModelProto) -> int:
    """Return how many convolutions were rewritten. A depthwise one stays, unless it has more outputs than inputs."""
    changed, known = 0, shapes(model)
    for node in nodes(model, "Conv"):
        groups = attribute(node, "group", 1)
        if groups == 1 or known[node.input[1]][:2] == (groups, 1):
            continue
        new = copy(node)
        weight = rearrange(model, new, 1, partial(_join, groups))
        set_attributes(new, group=1)
        replace(model, node, [weight, new])
        changed += 1
    return changed
