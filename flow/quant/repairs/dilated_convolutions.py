"""Write a dilated kernel as a larger one with zeros between its values: hls4ml computes the output size of a dilated one wrongly."""

from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from flow.quant.repairs._graph import attribute, copy, nodes, rearrange, replace, set_attributes

TITLE = "dilated kernels filled with zeros"


def _spread(dilations: list[int], weight: NDArray[Any]) -> NDArray[Any]:
    sizes = [(size - 1) * d + 1 for size, d in zip(weight.shape[2:], dilations, strict=True)]
    wide = np.zeros((*weight.shape[:2], *sizes), weight.dtype)
    steps = (slice(None), slice(None), *(slice(None, None, d) for d in dilations))
    wide[steps] = weight
    return wide


def apply(model: onnx.ModelProto) -> int:
    """Return how many convolutions were rewritten."""
    changed = 0
    for node in nodes(model, "Conv"):
        dilations = list(attribute(node, "dilations", []))
        if max(dilations, default=1) == 1:
            continue
        new = copy(node)
        weight = rearrange(model, new, 1, partial(_spread, dilations))
        kernel = [(size - 1) * d + 1 for size, d in zip(attribute(node, "kernel_shape", []), dilations, strict=True)]
        set_attributes(new, kernel_shape=kernel, dilations=[1] * len(dilations))
        replace(model, node, [weight, new])
        changed += 1
    return changed
