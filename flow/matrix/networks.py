"""How the small networks of the matrix are put together from the layers of `flow.quant.layers`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from flow.quant.calibrate import Exponent
from flow.quant.layers import Layers

Exponents = dict[str, Exponent]
Make = Callable[[Layers], nn.Module]
Options = Mapping[str, Any]
Size = int | tuple[int, int]
NONE: Options = {}
FINE: Options = {"activation_bits": 7}


def keep(exponents: Exponents) -> None:
    """Leave the calibrated exponents as they are."""


@dataclass(frozen=True)
class Case:
    """One row of the matrix.

    Attributes:
        id: unique.
        title: what people call the layer.
        shape: of one input sample; the two axes of an image differ.
        make: the network.
        network: settings of `flow.config.NetworkConfig` that the row is about.
        adjust: changes the calibrated exponents in place, where the row is about scales.
        signed: the input words are.
    """

    id: str
    title: str
    shape: tuple[int, ...]
    make: Make
    network: Options = field(default_factory=dict)
    adjust: Callable[[Exponents], None] = keep
    signed: bool = False


class Branches(nn.Module):
    """Two branches behind a stem, joined."""

    def __init__(self, stem: nn.Module, left: nn.Module, right: nn.Module, join: nn.Module) -> None:
        super().__init__()
        self.stem, self.left, self.right, self.join = stem, left, right, join

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, ...) to the joined branches."""
        stem = self.stem(x)
        out: torch.Tensor = self.join(self.left(stem), self.right(stem))
        return out


class Permute(nn.Module):
    """Reorder the axes."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reorder."""
        return x.permute(self.order)


def between(*inner: Make, signed: bool = False) -> Make:
    """Put layers between an input quantizer and an output quantizer."""
    return lambda layers: nn.Sequential(layers.input("input", signed=signed), *(make(layers) for make in inner), layers.output("output"))


def plain(make: Callable[[], nn.Module]) -> Make:
    """Use a module of torch that only moves values."""
    return lambda layers: make()


def relu(layers: Layers) -> nn.Module:
    """Rectify and quantize."""
    return layers.relu("relu")


def linear(n_in: int, n_out: int, name: str = "linear", options: Options = NONE) -> Make:
    """Multiply with weights."""
    return lambda layers: layers.linear(name, n_in, n_out, **options)


def conv(rank: int, c_in: int, c_out: int, kernel: Size, name: str = "conv", options: Options = NONE) -> Make:
    """Convolve along `rank` axes."""
    arguments: Options = {"name": name, "c_in": c_in, "c_out": c_out, "kernel": kernel, **options}
    return lambda layers: layers.conv1d(**arguments) if rank == 1 else layers.conv2d(**arguments)


def dense(id_: str, title: str, options: Options = NONE, network: Options = NONE, adjust: Callable[[Exponents], None] = keep) -> Case:
    """Two dense layers with a ReLU between; the row is about the first."""
    return Case(id_, title, (7,), between(linear(7, 6, options=options), relu, linear(6, 4, "last")), network, adjust)


def series(id_: str, title: str, c_in: int = 2, c_out: int = 4, options: Options = NONE, network: Options = NONE,
           adjust: Callable[[Exponents], None] = keep) -> Case:  # fmt: skip
    """Two 1-dimensional convolutions with a ReLU between; the row is about the first."""
    first = conv(1, c_in, c_out, 3, options=options)
    return Case(id_, title, (c_in, 9), between(first, relu, conv(1, c_out, 2, 1, "last")), network, adjust)


def image(id_: str, title: str, c_in: int = 2, c_out: int = 3, kernel: Size = (3, 2), options: Options = NONE, network: Options = NONE,
          adjust: Callable[[Exponents], None] = keep) -> Case:  # fmt: skip
    """Two 2-dimensional convolutions with a ReLU between; the row is about the first."""
    first = conv(2, c_in, c_out, kernel, options=options)
    return Case(id_, title, (c_in, 5, 7), between(first, relu, conv(2, c_out, 2, 1, "last")), network, adjust)


def pool(id_: str, title: str, shape: tuple[int, ...], make: Make, kernel: Size = 1) -> Case:
    """Pool between two convolutions."""
    rank = len(shape) - 1
    return Case(id_, title, shape, between(conv(rank, shape[0], 3, kernel), relu, make, conv(rank, 3, 2, 1, "last")), FINE)


def function(id_: str, title: str, make: Make) -> tuple[Case, Case]:
    """Put a function behind a dense layer, and behind a convolution."""
    return (
        Case(id_, title, (7,), between(linear(7, 8), make, linear(8, 4, "last")), FINE),
        Case(f"{id_}_image", f"{title}, on an image", (2, 5, 7), between(conv(2, 2, 3, (3, 2)), make, conv(2, 3, 2, 1, "last")), FINE),
    )


def joined(id_: str, title: str, steps: int, *, concat: bool = False, dense: bool = False, identity: bool = False) -> Case:
    """Two branches from one stem, scales a factor of 2**steps apart; one of them may be the stem itself."""
    width = 5 if dense else 3

    def make(layers: Layers) -> nn.Module:
        def weighted(name: str, n_in: int, n_out: int, kernel: int = 1) -> nn.Module:
            return layers.linear(name, n_in, n_out) if dense else layers.conv2d(name, n_in, n_out, kernel)

        def branch(side: str) -> nn.Module:
            return nn.Sequential(weighted(f"weighted_{side}", width, width), layers.relu(side))

        first = weighted("stem", 6 if dense else 2, width, 2)
        stem = nn.Sequential(layers.input("input"), first, layers.relu("left" if identity else "relu"))
        left = nn.Identity() if identity else branch("left")
        branches = Branches(stem, left, branch("right"), layers.concat("join") if concat else layers.add("join"))
        return nn.Sequential(branches, weighted("last", width * (1 + concat), 3), layers.output("output"))

    return Case(id_, title, (6,) if dense else (2, 4, 5), make, adjust=apart("left", "right", steps))


def unequal(name: str) -> Callable[[Exponents], None]:
    """Return what gives neighbouring channels of a layer different scales."""

    def adjust(exponents: Exponents) -> None:
        own = exponents[name]
        steps = own if isinstance(own, list) else [own]
        exponents[name] = [max(steps) - i % 3 for i in range(len(steps))]

    return adjust


def apart(left: str, right: str, steps: int) -> Callable[[Exponents], None]:
    """Return what gives two quantizers scales that are a factor of 2**steps apart."""

    def adjust(exponents: Exponents) -> None:
        first = exponents[left]
        exponents[right] = first - steps if isinstance(first, int) else first

    return adjust
