"""What each operator of torch does to ids: moving them, or recording a computation."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flow.landscape._engine.values import ONE, ZERO, Ids, Pool, Unsupported, carry, uncarry

Read = Callable[[Any], Ids]
MOVES = frozenset(
    [
        "view",
        "_unsafe_view",
        "reshape",
        "permute",
        "transpose",
        "t",
        "unsqueeze",
        "squeeze",
        "expand",
        "clone",
        "detach",
        "alias",
        "slice",
        "select",
        "cat",
        "stack",
        "split",
        "unbind",
        "index",
        "split_with_sizes",
        "im2col",
        "constant_pad_nd",
        "flip",
        "repeat",
        "unfold",
        "lift_fresh",
        "diagonal",
        "index_select",
        "roll",
        "contiguous",
        "narrow",
        "tile",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "pixel_shuffle",
        "replication_pad1d",
        "replication_pad2d",
        "reflection_pad1d",
        "reflection_pad2d",
    ]
)
UNARY = {
    "neg": "-a", "relu": "vmax(a, 0)", "round": "vround(a)", "floor": "vfloor(a)", "ceil": "-vfloor(-a)", "abs": "vmax(a, -a)",
    "exp": "vexp(a)", "log": "vlog(a)", "sqrt": "vsqrt(a)", "rsqrt": "1 / vsqrt(a)", "reciprocal": "1 / a", "square": "a * a",
    "sigmoid": "vsigmoid(a)", "tanh": "vtanh(a)", "silu": "a * vsigmoid(a)", "log1p": "vlog1p(a)", "expm1": "vexpm1(a)",
}  # fmt: skip
BINARY = {
    "mul": "a * b", "maximum": "vmax(a, b)", "minimum": "vmin(a, b)", "eq": "vif(a == b)", "ne": "vif(a != b)", "gt": "vif(a > b)",
    "ge": "vif(a >= b)", "lt": "vif(a < b)", "le": "vif(a <= b)",
}  # fmt: skip
POWERS = {2.0: "a * a", 3.0: "a * a * a", 4.0: "(a * a) * (a * a)", 0.5: "vsqrt(a)", -1.0: "1 / a", 1.0: "a"}


def literal(value: float) -> str:
    """Return a number as it is written in C++."""
    if not math.isfinite(value):
        return "NAN" if math.isnan(value) else "INFINITY" if value > 0 else "-INFINITY"
    return value.hex()


class Call:
    """One call of an operator.

    Attributes:
        name: of the operator, without overload.
        args: all arguments, by name of the schema.
        result: what torch made of it.
        pool: where computations are recorded.
        read: returns the ids of a tensor or a number.
    """

    def __init__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any, pool: Pool, read: Read) -> None:  # noqa: ANN401
        schema = func._schema
        self.name, self.func, self.positional, self.kwargs, self.result, self.pool, self.read = (
            schema.name.split("::")[1].removesuffix("_"), func, args, kwargs, result, pool, read,
        )  # fmt: skip
        self.args = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        self.args |= dict(zip((a.name for a in schema.arguments), args, strict=False)) | kwargs

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first result."""
        return tuple(self._first.shape)

    @property
    def double(self) -> bool:
        """Whether the first result is of double precision."""
        return bool(self._first.dtype == torch.float64)

    @property
    def _first(self) -> Tensor:
        first: Tensor = self.result if isinstance(self.result, Tensor) else self.result[0]
        return first

    def map(self, code: str, *args: Any) -> Ids:  # noqa: ANN401
        """Record an element-wise operation on tensors or numbers."""
        return self.pool.map(code, [a if isinstance(a, np.ndarray) else self.read(a) for a in args], self.shape, self.double)


def _move(call: Call) -> Any:  # noqa: ANN401
    """Do to the ids what is done to the elements."""

    def swap(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, (list, tuple)):
            return type(value)(swap(v) for v in value)
        return carry(call.read(value)) if isinstance(value, Tensor) and value.is_floating_point() else value

    args, kwargs = list(call.positional), {k: v for k, v in call.kwargs.items() if k != "memory_format"}
    if call.name == "constant_pad_nd":
        fill = float(call.args.get("value") or 0)
        args[2:], kwargs = [float(call.pool.constants(np.array(fill)))], {}
    moved = call.func(*map(swap, args), **kwargs)
    return uncarry(moved) if isinstance(moved, Tensor) else [uncarry(m) for m in moved]


def _one(call: Call) -> Ids:
    return call.map(UNARY[call.name], call.args["self"])


def _two(call: Call) -> Ids:
    return call.map(BINARY[call.name], call.args["self"], call.args["other"])


def _add(call: Call) -> Ids:
    alpha = float(call.args.get("alpha") or 0)
    if call.name == "rsub":
        return call.map(f"b - {literal(alpha)} * a", call.args["self"], call.args["other"])
    sign = "+" if call.name == "add" else "-"
    code = f"a {sign} b" if alpha == 1 else f"a {sign} {literal(alpha)} * b"
    return call.map(code, call.args["self"], call.args["other"])


def _div(call: Call) -> Ids:
    if call.args.get("rounding_mode"):
        raise Unsupported("division with rounding")
    other = call.args["other"]
    if isinstance(other, (int, float)) and other and math.frexp(other)[0] in (0.5, -0.5):
        return call.map("a * b", call.args["self"], 1 / other)  # exact: a power of two
    return call.map("a / b", call.args["self"], other)


def _pow(call: Call) -> Ids:
    power = call.args["exponent"]
    if not isinstance(power, (int, float)) or float(power) not in POWERS:
        raise Unsupported(f"power {power}")
    return call.map(POWERS[float(power)], call.args["self"])


def _clamp(call: Call) -> Ids:
    value = call.read(call.args["self"])
    low = call.args.get("min", call.args.get("min_val"))
    high = call.args.get("max", call.args.get("max_val"))
    if low is not None:
        value = call.map("vmax(a, b)", value, low)
    return value if high is None else call.map("vmin(a, b)", value, high)


def _leaky(call: Call) -> Ids:
    return call.map("vmax(a, 0) + b * vmin(a, 0)", call.args["self"], call.args["negative_slope"])


def _elu(call: Call) -> Ids:
    if call.args.get("scale", 1) != 1 or call.args.get("input_scale", 1) != 1:
        raise Unsupported("scaled elu")
    return call.map("vmax(a, 0) + b * vexpm1(vmin(a, 0))", call.args["self"], call.args["alpha"])


def _softplus(call: Call) -> Ids:
    if call.args["beta"] != 1:
        raise Unsupported("softplus with beta")
    return call.map("vmax(a, 0) + vlog1p(vexp(-vmax(a, -a)))", call.args["self"])


def _where(call: Call) -> Ids:
    return call.map("vselect(a, b, c)", call.args["condition"], call.args["self"], call.args["other"])


def _copy(call: Call) -> Ids:
    source = call.args["self"]
    if source.dtype == call.result.dtype or torch.bool in (source.dtype, call.result.dtype):
        if call.result.dtype == torch.bool:
            return call.map("vif(a != 0)", source)
        return call.read(source)
    if not source.is_floating_point() or call.result.dtype not in (torch.float32, torch.float64):
        raise Unsupported(f"conversion of {source.dtype} to {call.result.dtype}")
    return call.map("a", source)


def _batched(call: Call, left: Ids, right: Ids) -> Ids:
    """Multiply matrices (B, n, k) and (B, k, m)."""
    return np.stack([call.pool.dots(a, b.T, call.double) for a, b in zip(left, right, strict=True)])


def _mm(call: Call) -> Ids:
    left, right = (call.read(call.args[n]) for n in (("self", "mat2") if call.name in ("mm", "bmm") else ("self", "vec")))
    if call.name == "bmm":
        return _batched(call, left, right)
    if call.name == "mm":
        return call.pool.dots(left, right.T, call.double)
    if call.name == "dot":
        return call.pool.dots(left[None], call.read(call.args["tensor"])[None], call.double).reshape(())
    return call.pool.dots(left, right[None], call.double)[:, 0]


def _with_bias(call: Call, data: Ids, weights: Ids, bias: Ids) -> Ids:
    """Multiply (R, K) with (M, K) and add a bias (M,), as one more product with 1."""
    ones = np.full((len(data), 1), ONE)
    return call.pool.dots(np.hstack([data, ones]), np.hstack([weights, bias[:, None]]), call.double)


def _addmm(call: Call) -> Ids:
    bias, left, right = (call.read(call.args[n]) for n in ("self", "mat1", "mat2"))
    if float(call.args["beta"]) != 1 or float(call.args["alpha"]) != 1:
        raise Unsupported("addmm with factors")
    if bias.ndim == 1 or len(bias) == 1:
        return _with_bias(call, left, right.T, np.broadcast_to(bias.reshape(-1), right.shape[1]))
    return call.map("a + b", call.pool.dots(left, right.T, call.double), bias)


def _spread(x: Ids, stride: Sequence[int], before: Sequence[int], after: Sequence[int]) -> Ids:
    """Put zeros between and around the pixels of (C, *sizes), as a transposed convolution does; negative: cut off."""
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[1:], stride, strict=True)]
    wide = np.full((len(x), *sizes), ZERO)
    wide[(slice(None), *(slice(None, None, s) for s in stride))] = x
    pads = [p for b, a in reversed(list(zip(before, after, strict=True))) for p in (b, a)]
    return uncarry(torch.nn.functional.pad(carry(wide), pads))


def _patches(x: Ids, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Ids:
    """Return the windows of (C, *sizes) as (places, C * kernel)."""
    flat = carry(x)[None]
    if len(kernel) == 1:
        flat, kernel, stride, dilation = flat.unsqueeze(2), (1, *kernel), (1, *stride), (1, *dilation)
    return uncarry(torch.nn.functional.unfold(flat, tuple(kernel), tuple(dilation), 0, tuple(stride))[0].T)


def _convolution(call: Call) -> Ids:
    x, weight = (call.read(call.args[n]) for n in ("input", "weight"))
    rank, groups = weight.ndim - 2, int(call.args["groups"])
    stride, padding, dilation, more = (
        [int(v) for v in call.args[n]] * (rank // len(call.args[n])) for n in ("stride", "padding", "dilation", "output_padding")
    )
    if rank not in (1, 2) or len(x) != 1:
        raise Unsupported(f"convolution of rank {rank}")
    results = []
    for part, w in zip(np.split(x[0], groups), np.split(weight, groups), strict=True):
        if call.args["transposed"]:
            reach = [(k - 1) * d - p for k, d, p in zip(w.shape[2:], dilation, padding, strict=True)]
            part = _spread(part, stride, reach, [r + m for r, m in zip(reach, more, strict=True)])  # noqa: PLW2901
            w, steps = np.flip(w.swapaxes(0, 1), tuple(range(2, 2 + rank))), [1] * rank  # noqa: PLW2901
        else:
            part, steps = _spread(part, [1] * rank, padding, padding), stride  # noqa: PLW2901
        data, matrix = _patches(part, w.shape[2:], steps, dilation), w.reshape(len(w), -1)
        if call.args["bias"] is None:
            results.append(call.pool.dots(data, matrix, call.double))
        else:
            bias = np.split(call.read(call.args["bias"]), groups)[len(results)]
            results.append(_with_bias(call, data, matrix, bias))
    return np.concatenate([r.T for r in results]).reshape(call.shape)


def _axes(call: Call, rank: int) -> list[int]:
    dims = call.args.get("dim")
    dims = list(range(rank)) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    return sorted(d % rank for d in dims)


def _rows(call: Call, x: Ids) -> Ids:
    """Return what is reduced to each element, (n, K)."""
    axes = _axes(call, x.ndim)
    return np.moveaxis(x, axes, list(range(-len(axes), 0))).reshape(-1, math.prod(x.shape[a] for a in axes))


def _sum(call: Call) -> Ids:
    rows = _rows(call, call.read(call.args["self"]))
    total = call.pool.dots(rows, np.full((1, rows.shape[1]), ONE), call.double).reshape(call.shape)
    return total if call.name == "sum" else call.map("a * b", total, 1 / rows.shape[1])


def _amax(call: Call) -> Ids:
    rows = _rows(call, call.read(call.args["self"]))
    if call.name == "amin":
        return call.map("-a", call.pool.peaks(call.pool.map("-a", [rows], rows.shape, call.double), call.double).reshape(call.shape))
    return call.pool.peaks(rows, call.double).reshape(call.shape)


def _window(call: Call, fill: int) -> Ids:
    """Return the windows of a pooling (channels * places, K)."""
    x = call.read(call.args["self"])
    flat = x.reshape(-1, *x.shape[-2:])
    kernel, padding = ([int(v) for v in call.args[n]] * (2 // len(call.args[n])) for n in ("kernel_size", "padding"))
    stride = [int(v) for v in call.args["stride"] or kernel] * (2 // len(call.args["stride"] or kernel))
    if call.args["ceil_mode"] or any(d != 1 for d in call.args.get("dilation", [1])):
        raise Unsupported("pooling with ceil_mode or dilation")
    pads = [padding[1], padding[1], padding[0], padding[0]]
    wide = uncarry(torch.nn.functional.pad(carry(flat), pads, value=fill))
    return np.stack([_patches(c[None], kernel, stride, (1, 1)) for c in wide]).reshape(-1, math.prod(kernel))


def _max_pool(call: Call) -> list[Ids]:
    rows = _window(call, int(call.pool.constants(np.array(-math.inf))))
    values = call.pool.peaks(rows, call.double).reshape(call.shape)
    return [values, np.full(values.shape, -1)]  # nobody may ask where the largest was


def _avg_pool(call: Call) -> Ids:
    rows = _window(call, ZERO)
    if not call.args["count_include_pad"] and any(call.args["padding"]):
        raise Unsupported("average without padding")
    divisor = call.args.get("divisor_override") or rows.shape[1]
    total = call.pool.dots(rows, np.full((1, rows.shape[1]), ONE), call.double).reshape(call.shape)
    return total if divisor == 1 else call.map("a * b", total, 1 / divisor)


def _softmax(call: Call) -> Ids:
    x = call.read(call.args["self"])
    rows = _rows(call, x)
    axis = _axes(call, x.ndim)[0]
    pool, double, shape = call.pool, call.double, np.delete(x.shape, axis)
    peak = np.expand_dims(pool.peaks(rows, double).reshape(shape), axis)
    shifted = pool.map("a - b", [x, peak], x.shape, double)
    powers = _rows(call, pool.map("vexp(a)", [shifted], x.shape, double))
    total = np.expand_dims(pool.dots(powers, np.full((1, powers.shape[1]), ONE), double).reshape(shape), axis)
    if call.name == "_log_softmax":
        return call.map("a - b", shifted, pool.map("vlog(a)", [total], total.shape, double))
    return call.map("a / b", call.map("vexp(a)", shifted), total)


def _batch_norm(call: Call) -> list[Ids]:
    if call.args.get("training", False):
        raise Unsupported("batch normalisation in training mode")
    x, mean, variance = (call.read(call.args[n]) for n in ("input", "running_mean", "running_var"))
    shape = (-1, *[1] * (x.ndim - 2))
    deviation = call.pool.map(f"1 / vsqrt(a + {literal(float(call.args['eps']))})", [variance], variance.shape, call.double)
    y = call.map("(a - b) * c", x, mean.reshape(shape), deviation.reshape(shape))
    if call.args["weight"] is not None:
        y = call.map("a * b", y, call.read(call.args["weight"]).reshape(shape))
    return [y if call.args["bias"] is None else call.map("a + b", y, call.read(call.args["bias"]).reshape(shape))]


def _errors(call: Call) -> Ids:
    """Squared, absolute or smooth error, element by element."""
    if call.args["reduction"] != 0:
        raise Unsupported("a loss that is averaged over samples")
    beta = literal(float(call.args.get("beta") or 1))
    code = {
        "mse_loss": "(a - b) * (a - b)",
        "smooth_l1_loss": f"vhuber(a - b, {beta}) / {beta}",
        "huber_loss": f"vhuber(a - b, {literal(float(call.args.get('delta') or 1))})",
    }[call.name]
    return call.map(code, call.args["self"], call.args["target"])


HANDLERS: dict[str, Callable[[Call], Any]] = {
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(UNARY, _one), **dict.fromkeys(BINARY, _two),
    **dict.fromkeys(("add", "sub", "rsub"), _add), "div": _div, "pow": _pow, "leaky_relu": _leaky, "elu": _elu, "softplus": _softplus,
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh"), _clamp), "where": _where, "_to_copy": _copy,
    **dict.fromkeys(("mm", "bmm", "mv", "dot"), _mm), "addmm": _addmm, "convolution": _convolution,
    **dict.fromkeys(("sum", "mean"), _sum), **dict.fromkeys(("amax", "amin"), _amax),
    "max_pool2d_with_indices": _max_pool, "avg_pool2d": _avg_pool, **dict.fromkeys(("_softmax", "_log_softmax"), _softmax),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training"), _batch_norm),
    **dict.fromkeys(("mse_loss", "smooth_l1_loss", "huber_loss"), _errors),
}  # fmt: skip
