"""The lowered network as plain data: layers, exact fixed-point types and weights; no library object, no pickle."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput, MissingInput

Array = NDArray[np.float64]
Rounding = Literal["TRN", "RND", "RND_CONV"]
Saturation = Literal["WRAP", "SAT", "SAT_SYM"]
Weights = Mapping[str, "tuple[Array, FixedType]"]
FORMAT = 1
MAX_HEADER = 1 << 24
MAX_WIDTH = 62
HlsObject = Any  # hls4ml has no types
_PADS = ("pad_top", "pad_bottom", "pad_left", "pad_right", "data_format")
_STRIDES = ("stride_height", "stride_width", *_PADS)
_CONV = ("dilation_height", "dilation_width", *_STRIDES)
_POOL = ("pool_op", "pool_height", "pool_width", *_STRIDES)
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "Input": (), "Conv1D": _CONV, "Conv2D": _CONV, "DepthwiseConv1D": _CONV, "DepthwiseConv2D": _CONV, "Dense": (),
    "Pooling1D": _POOL, "Pooling2D": _POOL, "ZeroPadding1D": _PADS, "ZeroPadding2D": _PADS, "Activation": ("activation",),
    "ParametrizedActivation": ("activation", "activ_param"), "ApplyAlpha": (), "Reshape": (), "Transpose": ("perm",), "Merge": ("op",),
    "Concatenate": ("axis",),
}  # fmt: skip
# The same arithmetic under another name; Clone and Repack are what io_stream needs to copy and cut streams.
ALIASES = {"PointwiseConv1D": "Conv1D", "PointwiseConv2D": "Conv2D", "Clone": "Reshape", "Repack": "Reshape"}


@dataclass(frozen=True)
class FixedType:
    """A fixed-point type as in ``ap_fixed`` (Vitis HLS user guide UG1399, "Arbitrary precision fixed-point").

    Attributes:
        signed: two's complement, else unsigned.
        width: all bits.
        integer: bits left of the binary point, the sign included; may be negative or more than `width`.
        rounding: ``TRN`` down, ``RND`` half up, ``RND_CONV`` half to even.
        saturation: ``WRAP`` modulo, ``SAT`` clamp, ``SAT_SYM`` clamp without the most negative code.
    """

    signed: bool
    width: int
    integer: int
    rounding: Rounding = "TRN"
    saturation: Saturation = "WRAP"

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InvalidInput: a mode that the flow cannot lower, or a width that it cannot hold.
        """
        if self.rounding not in get_args(Rounding) or self.saturation not in get_args(Saturation):
            raise InvalidInput(
                f"{self}: rounding must be one of {', '.join(get_args(Rounding))} and saturation one of {', '.join(get_args(Saturation))}."
            )
        if not 1 <= self.width <= MAX_WIDTH:
            raise InvalidInput(f"{self}: the width must be 1 to {MAX_WIDTH} bits.")

    @property
    def fraction(self) -> int:
        """Bits right of the binary point; negative when the least significant bit weighs more than 1."""
        return self.width - self.integer

    @property
    def range(self) -> tuple[int, int]:
        """Lowest and highest code."""
        high = (1 << (self.width - self.signed)) - 1
        return (-high if self.saturation == "SAT_SYM" else -high - 1) if self.signed else 0, high

    def codes(self, value: Array) -> NDArray[np.int64]:
        """Quantize real numbers to integer codes, exactly.

        Args:
            value: any shape; products with ``2**fraction`` must be below 2**52.
        """
        scaled = np.ldexp(np.asarray(value, np.float64), self.fraction)
        if self.rounding == "TRN":
            code = np.floor(scaled)
        elif self.rounding == "RND":
            code = np.floor(scaled) + (scaled - np.floor(scaled) >= 0.5)
        else:
            code = np.rint(scaled)
        low, high = self.range
        if self.saturation != "WRAP":
            return np.clip(code, low, high).astype(np.int64)
        return (code.astype(np.int64) - low) % (1 << self.width) + low

    def quantize(self, value: Array) -> Array:
        """Return the nearest value of this type, as its modes say."""
        return np.ldexp(self.codes(value).astype(np.float64), -self.fraction)

    def __str__(self) -> str:
        """Write it as in C++: ``ufixed<8,1,RND_CONV,SAT>``."""
        return f"{'' if self.signed else 'u'}fixed<{self.width},{self.integer},{self.rounding},{self.saturation}>"


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: unique.
        kind: one of `ATTRIBUTES`.
        inputs: names of the layers it reads.
        shape: of its output without the sample axis, channels last.
        type: of its output.
        attributes: JSON values (``stride_height``, ``pad_top``, ``activation``, ``perm``, ``op``).
        weights: ``{name: (values, type)}``; kernel (kh, kw, in, out), (kw, in, out) or (in, out), where `in` is 1 in a depthwise
            convolution; scale like the input; bias (out,).
        accumulator: type that sums are kept in before `type`, or None.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    type: FixedType
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights = field(default_factory=dict)
    accumulator: FixedType | None = None


@dataclass(frozen=True)
class Graph:
    """Layers in an order in which each one comes after those it reads; the last one is the output."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        """Check names and order.

        Raises:
            InvalidInput: not exactly one input, a name twice, or a layer that reads what comes later.
        """
        known: set[str] = set()
        for layer in self.layers:
            if layer.name in known:
                raise InvalidInput(f"layer name '{layer.name}' is used twice.")
            missing = [name for name in layer.inputs if name not in known]
            if missing:
                raise InvalidInput(f"layer '{layer.name}' ({layer.kind}) reads '{missing[0]}', which is not a layer before it.")
            known.add(layer.name)
        inputs = [layer.name for layer in self.layers if layer.kind == "Input"]
        if len(inputs) != 1 or len(self.layers) < 2:
            raise InvalidInput(f"a network with one input and at least one layer is needed; the inputs are: {', '.join(inputs) or 'none'}.")

    @property
    def output(self) -> Layer:
        """The last layer."""
        return self.layers[-1]

    @property
    def port(self) -> Layer:
        """The layer whose type and shape the host delivers: the quantizer right behind the input, if there is one."""
        source = next(layer for layer in self.layers if layer.kind == "Input")
        readers = [layer for layer in self.layers if source.name in layer.inputs]
        if len(readers) == 1 and readers[0].kind == "Activation" and readers[0].attributes.get("activation") == "linear":
            return readers[0]
        return source

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file: a JSON header and the weights."""
        header: dict[str, Any] = {"format": FORMAT, "layers": []}
        arrays: dict[str, Array] = {}
        for i, layer in enumerate(self.layers):
            entry = {k: getattr(layer, k) for k in ("name", "kind", "inputs", "shape", "attributes")}
            entry["type"] = asdict(layer.type)
            entry["accumulator"] = asdict(layer.accumulator) if layer.accumulator else None
            entry["weights"] = {name: {"array": f"w{i}_{name}", "type": asdict(t)} for name, (_, t) in layer.weights.items()}
            arrays |= {f"w{i}_{name}": np.asarray(value, np.float64) for name, (value, _) in layer.weights.items()}
            header["layers"].append(entry)
        with path.open("wb") as file:
            np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **cast("Any", arrays))

    @classmethod
    def load(cls, path: Path) -> "Graph":
        """Read what `save` wrote.

        Raises:
            MissingInput: there is no such file.
            InvalidInput: the file is damaged or of another format.
        """
        if not path.is_file():
            raise MissingInput(f"{path}: there is no such file. Run the stage that writes it.")
        try:
            with np.load(path, allow_pickle=False) as file:
                if file["header"].size > MAX_HEADER:
                    raise InvalidInput(f"{path}: its header is larger than {MAX_HEADER} bytes.")
                header = json.loads(file["header"].tobytes())
                if header["format"] != FORMAT:
                    raise InvalidInput(f"{path}: format {header['format']} is not {FORMAT}. Convert the network again.")
                return cls(tuple(_layer(entry, file) for entry in header["layers"]))
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise InvalidInput(f"{path}: not a lowered network ({type(error).__name__}: {error}). Convert the network again.") from None


def _layer(entry: Mapping[str, Any], arrays: Mapping[str, Array]) -> Layer:
    return Layer(
        name=entry["name"], kind=entry["kind"], inputs=tuple(entry["inputs"]), shape=tuple(entry["shape"]), type=FixedType(**entry["type"]),
        attributes=entry["attributes"],
        weights={name: (arrays[w["array"]], FixedType(**w["type"])) for name, w in entry["weights"].items()},
        accumulator=FixedType(**entry["accumulator"]) if entry["accumulator"] else None,
    )  # fmt: skip


def from_hls4ml(model: HlsObject) -> Graph:
    """Take the layers of hls4ml's optimized graph with the exact types that its C++ uses.

    Args:
        model: a ``ModelGraph`` after its optimization passes.

    Raises:
        InvalidInput: a layer, an activation or a type that the flow cannot lower; names the layer and its kind.
    """
    layers: list[Layer] = []
    producer: dict[str, str] = {}
    for node in model.get_layers():
        layers.append(_from_node(node, producer))
        producer |= dict.fromkeys(node.outputs, node.name)
    return Graph(tuple(layers))


def _from_node(node: HlsObject, producer: Mapping[str, str]) -> Layer:
    kind = ALIASES.get(node.class_name, node.class_name)
    if kind not in ATTRIBUTES:
        raise InvalidInput(f"layer '{node.name}': kind {node.class_name} cannot be lowered to RTL; known are {', '.join(ATTRIBUTES)}.")
    given = node.attributes
    attributes = {key: _plain(given[key]) for key in ATTRIBUTES[kind] if key in given}
    where = f"layer '{node.name}' ({node.class_name})"
    variable = node.get_output_variable()
    accumulator = given.get("accum_t")
    weights = {}
    for name, weight in node.weights.items():
        kept = _fixed(weight.type.precision, f"{where}, {name}")
        weights[name] = (kept.quantize(np.asarray(weight.data, np.float64)), kept)
    return Layer(
        name=node.name, kind=kind, inputs=() if kind == "Input" else tuple(producer.get(i, i) for i in node.inputs if i),
        shape=tuple(int(n) for n in variable.shape), type=_fixed(variable.type.precision, where),
        attributes=attributes, weights=weights, accumulator=_fixed(accumulator.precision, f"{where}, accumulator") if accumulator else None,
    )  # fmt: skip


def _plain(value: HlsObject) -> str | int | float | list[int]:
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, float):
        return value
    return [int(v) for v in value] if isinstance(value, list | tuple) else int(value)


def _fixed(precision: HlsObject, where: str) -> FixedType:
    if not hasattr(precision, "integer") or not hasattr(precision, "signed"):
        raise InvalidInput(f"{where}: type {precision} is not fixed-point.")
    if getattr(precision, "saturation_bits", 0):
        raise InvalidInput(f"{where}: type {precision} has saturation bits, which cannot be lowered.")
    modes = [str(getattr(precision, key, default)) for key, default in (("rounding_mode", "TRN"), ("saturation_mode", "WRAP"))]
    try:
        return FixedType(bool(precision.signed), int(precision.width), int(precision.integer), *modes)  # type: ignore[arg-type]
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None
