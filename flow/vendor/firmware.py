"""An hls4ml project (C++ and weights) -> our lowered graph, with the types, the weights and the order that its C++ has."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from flow.core.errors import InvalidInput, MissingInput
from flow.rtl.graph import Array, FixedType, Graph, Layer
from flow.vendor.cpp import Call, Source, parse, read_text

MOST_WEIGHTS = 10_000_000
ACTIVATIONS = {"linear": "linear", "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "leaky_relu": "leakyrelu"}
MERGES = ("add", "subtract", "multiply", "average", "maximum", "minimum")
LEFT_OUT = ("softmax", "softmax_stable", "softmax_latency", "softmax_legacy", "argmax")  # no linear operations; last of a network
PADS = ("pad_top", "pad_bottom", "pad_left", "pad_right")
RESOURCE = ("nnet::resource", "nnet::unrolled")  # hls4ml stores the weights of these strategies transposed


@dataclass(frozen=True)
class Project:
    """A network as its project has it.

    Attributes:
        graph: all layers that can be lowered.
        left_out: functions of layers behind the last of them, such as softmax.
    """

    graph: Graph
    left_out: tuple[str, ...]


def read_project(folder: Path) -> Project:
    """Read a project.

    Args:
        folder: with ``firmware/`` inside.

    Raises:
        MissingInput: a file is not there.
        InvalidInput: a layer that the flow does not know, or a file that is damaged; names it.
    """
    return _Reader(folder / "firmware", parse(folder / "firmware")).project()


def read_weights(path: Path, count: int) -> Array:
    """Read a file of numbers, separated by commas or white space.

    Args:
        path: ``weights/w2.txt``.
        count: how many there must be.

    Raises:
        MissingInput: there is no such file.
        InvalidInput: it holds something else, or another number of them.
    """
    words = read_text(path).replace(",", " ").split()
    try:
        values = np.array([float(word) for word in words], np.float64)
    except ValueError as error:
        raise InvalidInput(f"{path}: {error}; numbers separated by commas were expected.") from None
    if len(values) != count:
        raise InvalidInput(f"{path}: {len(values)} numbers, where the layer has {count}.")
    if not np.isfinite(values).all():
        raise InvalidInput(f"{path}: number {int(np.argmin(np.isfinite(values)))} (from 0) is not finite.")
    return values


def read_vectors(path: Path, words: int) -> Array:
    """Read test vectors of a project, one sample a line: (N, words).

    Raises:
        MissingInput: there is no such file.
        InvalidInput: a line has another number of words.
    """
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    wrong = next((i for i, line in enumerate(lines) if len(line) != words), None)
    if not lines or wrong is not None:
        raise InvalidInput(f"{path}, line {(wrong or 0) + 1}: {len(lines[wrong or 0]) if lines else 0} words, where {words} were expected.")
    try:
        return np.array(lines, np.float64)
    except ValueError as error:
        raise InvalidInput(f"{path}: {error}.") from None


@dataclass
class _Reader:
    firmware: Path
    source: Source
    layers: dict[str, Layer] = field(default_factory=dict)  # by the variable that holds the output

    def project(self) -> Project:
        if len(self.source.inputs) != 1:
            raise InvalidInput(f"{self.firmware}: the network has {len(self.source.inputs)} inputs; one is needed.")
        kind, variable = self.source.inputs[0]
        shape = self.shape(variable)
        self.layers[variable] = Layer(variable, "Input", (), shape, self.source.fixed(kind, f"input {variable}"))
        left_out: list[str] = []
        for call in self.source.calls:
            if call.function in LEFT_OUT:
                left_out.append(call.function)
            elif left_out:
                raise InvalidInput(f"layer '{call.name}' ({call.function}) comes behind {left_out[0]}, which cannot be lowered.")
            else:
                self.add(call)
        return Project(Graph(tuple({id(layer): layer for layer in self.layers.values()}.values())), tuple(left_out))

    def shape(self, variable: str) -> tuple[int, ...]:
        """Return the shape of the input: as declared, or as the first layer that has one wants it."""
        if variable in self.source.sizes and len(self.source.sizes[variable]) > 1:
            return self.source.sizes[variable]
        readers = {variable}
        for call in self.source.calls:
            config = self.source.configs.get(call.types[-1], {})
            if readers & {self.source.aliases.get(a, a) for a in call.arguments}:
                keys = next(
                    (k for k in (("in_height", "in_width", "n_chan"), ("in_width", "n_chan"), ("n_in",)) if set(k) <= set(config)), ()
                )
                if keys and call.function not in ACTIVATIONS:
                    return tuple(self.source.number(call.types[-1], k, f"layer '{call.name}'") for k in keys)
                for size in (self.source.sizes.get(a, ()) for a in call.arguments):
                    if len(size) > 1:
                        return size
                readers |= set(call.arguments)
        if variable in self.source.sizes:
            return self.source.sizes[variable]
        raise InvalidInput(f"{self.firmware}: the shape of input {variable} is in none of the files.")

    def add(self, call: Call) -> None:
        """Add one layer."""
        variables = [self.source.aliases.get(a, a) for a in call.arguments]
        inputs = [self.layers[v] for v in variables if v in self.layers]
        outputs = [v for v in variables if v not in self.layers and not re.fullmatch(r"[wbs]\d+|-?[\d.]+(?:e-?\d+)?f?", v)]
        if not inputs or not outputs:
            raise InvalidInput(
                f"layer '{call.name}' ({call.function}): it reads {', '.join(call.arguments)}, which no layer before it writes."
            )
        layer = self.layer(call, inputs, call.name or re.sub(r"_out$", "", outputs[0]))
        self.layers |= dict.fromkeys(outputs, layer)

    def layer(self, call: Call, inputs: list[Layer], name: str) -> Layer:
        where = f"layer '{name}' ({call.function})"
        config, kind = call.types[-1], call.function
        if kind == "clone_stream":
            return Layer(name, "Reshape", (inputs[0].name,), inputs[0].shape, self.source.fixed(call.types[1], where))
        result = self.source.fixed(call.types[-2], where)
        plain = Layer(name, "", tuple(layer.name for layer in inputs), inputs[0].shape, result)
        if kind in ACTIVATIONS:
            attributes: dict[str, Any] = {"activation": ACTIVATIONS[kind]}
            if kind == "leaky_relu":
                attributes["activ_param"] = float(call.arguments[1].rstrip("f"))
            return replace(plain, kind="ParametrizedActivation" if kind == "leaky_relu" else "Activation", attributes=attributes)
        if kind in MERGES:
            return replace(plain, kind="Merge", attributes={"op": kind})
        if kind.startswith("concatenate"):
            return self.concatenation(plain, config, inputs)
        if kind in ("dense", "dense_latency", "dense_resource"):
            return self.dense(plain, config, call, inputs[0])
        found = re.fullmatch(r"(conv|pointwise_conv|depthwise_conv|zeropad|pooling)_?([12])d_cl", kind)
        if found is None:
            raise InvalidInput(
                f"{where}: this function is not known. Known: dense, conv, depthwise_conv, zeropad, pooling (channels last), "
                f"{', '.join((*ACTIVATIONS, *MERGES))}, concatenate, and softmax at the end."
            )
        return self.image(replace(plain, attributes={"data_format": "channels_last"}), found[1], int(found[2]), config, call)

    def numbers(self, config: str, keys: tuple[str, ...], where: str) -> dict[str, int]:
        return {key: self.source.number(config, key, where) for key in keys}

    def concatenation(self, layer: Layer, config: str, inputs: list[Layer]) -> Layer:
        axis = self.source.number(config, "axis", f"layer '{layer.name}'") if len(layer.shape) > 1 else 1
        shape = list(layer.shape)
        if not 1 <= axis <= len(shape):
            raise InvalidInput(f"layer '{layer.name}' (concatenate): there is no axis {axis} in {len(shape)} dimensions.")
        shape[axis - 1] = sum(i.shape[axis - 1] for i in inputs)
        return replace(layer, kind="Concatenate", shape=tuple(shape), attributes={"axis": axis})

    def dense(self, layer: Layer, config: str, call: Call, given: Layer) -> Layer:
        where = f"layer '{layer.name}' ({call.function})"
        sizes = self.source.number(config, "n_in", where), self.source.number(config, "n_out", where)
        if int(np.prod(given.shape)) != sizes[0]:
            raise InvalidInput(f"{where}: it takes {sizes[0]} words, and '{given.name}' has {int(np.prod(given.shape))}.")
        if len(given.shape) > 1:  # a flattening has no code
            flat = f"{layer.name}_flat"
            variable = next(v for v, known in self.layers.items() if known is given)
            given = Layer(flat, "Reshape", (given.name,), sizes[:1], given.type)
            self.layers[f"{variable}/flat"] = given
        return self.with_weights(replace(layer, kind="Dense", inputs=(given.name,), shape=sizes[1:]), config, call, sizes)

    def image(self, layer: Layer, kind: str, rank: int, config: str, call: Call) -> Layer:
        where, axes = f"layer '{layer.name}' ({call.function})", ("height", "width")[2 - rank :]
        sides = PADS[4 - 2 * rank :]
        if kind == "zeropad":
            shape = self.numbers(config, (*(f"out_{a}" for a in axes), "n_chan"), where)
            pads = self.numbers(config, sides, where)
            return replace(layer, kind=f"ZeroPadding{rank}D", shape=tuple(shape.values()), attributes={**pads, **layer.attributes})
        keys = (*(f"stride_{a}" for a in axes), *sides)
        attributes = {**self.numbers(config, keys, where), **layer.attributes}
        out = tuple(self.source.number(config, f"out_{a}" if f"out_{a}" in self.source.configs[config] else "n_out", where) for a in axes)
        shape_out = (*out, self.source.number(config, "n_filt", where))
        accumulator = self.accumulator(config, where)
        if kind == "pooling":
            op = self.source.configs[config].get("pool_op", "").rsplit("::", maxsplit=1)[-1].lower()
            attributes = {
                "pool_op": "max" if op == "max" else "avg",
                **self.numbers(config, tuple(f"pool_{a}" for a in axes), where),
                **attributes,
            }
            return replace(layer, kind=f"Pooling{rank}D", shape=shape_out, attributes=attributes, accumulator=accumulator)
        size = [self.source.number(config, f"filt_{a}", where) for a in axes]
        channels = 1 if kind == "depthwise_conv" else self.source.number(config, "n_chan", where)
        attributes = {**{f"dilation_{a}": 1 for a in axes}, **attributes}
        named = f"{'DepthwiseConv' if kind == 'depthwise_conv' else 'Conv'}{rank}D"
        shaped = replace(layer, kind=named, shape=shape_out, attributes=attributes)
        return self.with_weights(shaped, config, call, (*size, channels, shape_out[-1]))

    def accumulator(self, config: str, where: str) -> FixedType | None:
        entry = self.source.configs.get(config, {}).get("accum_t")
        return self.source.fixed(entry, f"{where}, accumulator") if entry else None

    def with_weights(self, layer: Layer, config: str, call: Call, shape: tuple[int, ...]) -> Layer:
        """Add kernel and bias; a strategy that streams weights stores the outputs first."""
        where = f"layer '{layer.name}' ({call.function})"
        if np.prod([float(n) for n in shape]) > MOST_WEIGHTS:
            raise InvalidInput(f"{where}: a kernel of shape {shape} is larger than {MOST_WEIGHTS} weights.")
        transposed = self.source.configs[config].get("strategy", "").strip() in RESOURCE
        stored = (shape[-1], *shape[:-1]) if transposed else shape
        weights: dict[str, tuple[Array, FixedType]] = {}
        for key, short, size in (("weight", "w", stored), ("bias", "b", shape[-1:])):
            variable = next((a for a in call.arguments if re.fullmatch(rf"{short}\d+", a)), None)
            if variable is None:
                raise MissingInput(f"{where}: the call names no {key} ({short}<number>), so its values are in no file.")
            kept = self.source.fixed(self.source.configs[config].get(f"{key}_t", ""), f"{where}, {key}")
            value = kept.quantize(read_weights(self.firmware / "weights" / f"{variable}.txt", int(np.prod(size)))).reshape(size)
            weights[key] = (np.moveaxis(value, 0, -1) if transposed and key == "weight" else value, kept)
        return replace(layer, weights=weights, accumulator=self.accumulator(config, where))
