"""What a streaming network computes, frame by frame, from the same arithmetic as its Verilog: fast enough for every gate vector."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from flow.rtl.graph import Array
from flow.stream.elements import Element
from flow.stream.kernel import Kernel


def evaluate(elements: Sequence[Element], kernels: Mapping[str, Kernel], x: Array) -> dict[str, Array]:
    """Return the pixels that leave each element.

    Args:
        elements: in the order of `flow.stream.plan.plan`.
        kernels: the arithmetic by element.
        x: (N, ...) frames on the grid of the input, channels last.

    Returns:
        (N, rows, columns, words) by element.
    """
    first = elements[0].source
    images = {"": x.reshape(len(x), first.rows, first.columns, first.words)}
    for e in elements:
        # one image may be another one with the same words of a pixel, when a reshape is between them
        sources = [images[name.partition(".")[0]].reshape(len(x), e.source.rows, e.source.columns, e.source.words) for name in e.inputs]
        images[e.name] = _evaluate(e, kernels.get(e.name), sources).reshape(len(x), e.output.rows, e.output.columns, e.output.words)
    return {name: image for name, image in images.items() if name}


def _evaluate(e: Element, kernel: Kernel | None, sources: Sequence[Array]) -> Array:
    image = sources[0]
    if e.kind == "pad":
        s = e.settings
        return np.pad(image, ((0, 0), (s["top"], s["bottom"]), (s["left"], s["right"]), (0, 0)))
    if kernel is None:  # fork and gather move words only
        return image
    if e.kind in ("join", "point"):
        return kernel.predict(np.concatenate(sources, axis=-1).reshape(-1, kernel.inputs[0]))
    s = e.settings
    windows = sliding_window_view(image, (s["height"], s["width"]), axis=(1, 2))[:, :: s["down"], :: s["right"]]
    # a copy, for alkaid takes no arrays that are views and cannot be written
    return kernel.predict(np.moveaxis(windows, 3, -1).copy().reshape(-1, kernel.inputs[0]))
