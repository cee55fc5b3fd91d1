"""Record what torch does with one sample as computations on ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flow.landscape._engine.operators import HANDLERS, Call
from flow.landscape._engine.values import INPUT, PARAM, TARGET, Ids, Pool, Unsupported


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs every operator, and does to the ids of the elements what it does to the elements."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pool = pool
        self.known: dict[int, tuple[Tensor, Ids]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler, which takes seconds, to turn it off

    def learn(self, tensor: Tensor, ids: Ids) -> None:
        """Remember the ids of a tensor, and the tensor, so that no other takes its place."""
        if tuple(tensor.shape) != ids.shape:
            raise Unsupported(f"a result of shape {tuple(tensor.shape)} with ids of shape {ids.shape}")
        self.known[id(tensor)] = (tensor, ids)

    def read(self, value: Any) -> Ids:  # noqa: ANN401
        """Return the ids of a tensor or a number; what does not depend on parameters or sample is constant."""
        if isinstance(value, Tensor) and id(value) in self.known:
            return self.known[id(value)][1]
        array = value.detach().double().numpy() if isinstance(value, Tensor) else np.float64(value)
        return self.pool.constants(np.asarray(array))

    def _shared(self, tensor: Tensor) -> bool:
        """Tell whether a tensor that is about to be changed is also seen under another name, or is not recorded at all."""
        place = tensor.untyped_storage().data_ptr()
        return [id(t) for t, _ in self.known.values() if t.untyped_storage().data_ptr() == place] != [id(tensor)]

    def _tensors(self, values: Sequence[Any]) -> list[Tensor]:
        found = []
        for value in values:
            if isinstance(value, Tensor):
                found.append(value)
            elif isinstance(value, (list, tuple)):
                found += self._tensors(value)
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Run an operator and record it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not any(id(t) in self.known for t in self._tensors([*args, *kwargs.values()])):
            return result
        name = func._schema.name.split("::")[1]
        handler = HANDLERS.get(name.removesuffix("_"))
        if handler is None or (name.endswith("_") and self._shared(args[0])):
            raise Unsupported(f"operator {func}")
        with torch.utils._python_dispatch._disable_current_modes():
            made = handler(Call(func, args, kwargs, result, self.pool, self.read))
        for tensor, ids in zip([result], [made], strict=True) if isinstance(result, Tensor) else zip(result, made, strict=False):
            self.learn(tensor, ids)
        return result


@dataclass(frozen=True)
class Recording:
    """What a network does with one sample.

    Attributes:
        pool: ids and operations.
        output: ids of the words that leave the chip.
        shape: of these words.
        loss: id of the loss (1,).
        double: whether the words are of double precision.
    """

    pool: Pool
    output: Ids
    shape: tuple[int, ...]
    loss: Ids
    double: bool


def record(
    parts: dict[str, Tensor], chip: Callable[[Tensor], Tensor], rest: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> Recording:
    """Run one sample through a network and its loss.

    Args:
        parts: the parameters, in the order in which they lie in a point.
        chip: ``x (1, ...) -> words (1, ...)``, with these very tensors as its parameters.
        rest: ``(words, y) -> loss (1,)``, likewise.
        x: the input (1, ...).
        y: the target (1, ...).

    Raises:
        Unsupported: an operator, a type or a shape is not known.
    """
    pool = Pool()
    recorder = _Recorder(pool)
    start = 0
    for tensor in parts.values():
        where = np.arange(start, start + tensor.numel(), dtype=np.float64)
        recorder.learn(tensor, pool.fresh(PARAM, tensor.numel(), tensor.dtype == torch.float64, where).reshape(tensor.shape))
        start += tensor.numel()
    for kind, tensor in ((INPUT, x), (TARGET, y)):
        if tensor.dtype != torch.float32:
            raise Unsupported(f"samples of {tensor.dtype}")
        recorder.learn(tensor, pool.fresh(kind, tensor.numel(), False).reshape(tensor.shape))
    with torch.no_grad(), recorder:
        words = chip(x)
        loss = rest(words, y)
    if loss.shape != (1,) or id(loss) not in recorder.known or id(words) not in recorder.known:
        raise Unsupported(f"a loss of shape {tuple(loss.shape)}")
    output = recorder.known[id(words)][1].reshape(-1)
    return Recording(pool, output, tuple(words.shape[1:]), recorder.known[id(loss)][1], words.dtype == torch.float64)
