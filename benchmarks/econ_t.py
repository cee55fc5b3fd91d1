"""The default ECON-T design point, trained once and kept in the store, for all contestants: the twin, and the same network in Brevitas."""

import importlib
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from flow.cli import store_root
from flow.config import DesignPoint
from flow.core.errors import FlowError
from flow.core.plan import order, run_point
from flow.core.store import Store
from flow.landscape._problem import Problem, build_problem
from flow.model import MODELS, Array, Model, load_model
from flow.points import load_point
from flow.quant.export import build
from flow.quant.training import Chain
from flow.stages import all_stages
from flow.stages.data import read_dataset
from flow.twin import Twin, load_twin

UNTIL = "csim"
TWIN, COMPILED = "torch twin", "compiled engine"
QUICK = ("data.samples=3000", "train.pretrain_epochs=4", "train.epochs=4", "gate.samples=200", "name=econ_t_quick")


@dataclass(frozen=True)
class Network:
    """A trained network and test samples.

    Attributes:
        point: design point.
        paths: artifacts of the flow by name.
        model: loss and score.
        problem: the loss of twin and decoder; with the compiled engine where there is one.
        chain: the same network in Brevitas, the float decoder behind it.
        engine: how `problem` computes losses at many points, in words.
    """

    point: DesignPoint
    paths: MappingProxyType[str, Path]
    model: Model
    problem: Problem
    chain: Chain
    engine: str

    @property
    def twin(self) -> Twin:
        """The on-chip part."""
        return self.problem.twin

    @property
    def x(self) -> Tensor:
        """Inputs (N, 1, 8, 8)."""
        return self.problem.x

    @property
    def y(self) -> Tensor:
        """Targets (N, 1, 8, 8)."""
        return self.problem.y

    @cached_property
    def outputs(self) -> Array:
        """Reconstructed samples (N, 1, 8, 8)."""
        with torch.no_grad():
            outputs: Array = self.chain(self.x).numpy()
        return outputs

    def take(self, samples: int) -> "Network":
        """Return the same network on the first samples."""
        return replace(self, problem=self.problem.subset(slice(samples)))


def with_engine(problem: Problem) -> tuple[Problem, str]:
    """Give a problem the compiled engine of the project, where it can be built, and say which one it has."""
    try:
        make = importlib.import_module("flow.landscape._engine").try_engine
    except (ImportError, AttributeError):
        return problem, TWIN
    with tempfile.TemporaryDirectory(prefix="hlscape-bench-") as folder:  # loaded code needs no file
        try:
            engine, reason = make(problem.twin, problem.head, problem.loss_function, problem.x, problem.y, Path(folder))
        except FlowError as error:
            engine, reason = None, str(error).splitlines()[0]
    return (problem, f"{TWIN}: {reason}") if engine is None else (replace(problem, engine=engine), COMPILED)


def load(samples: int, quick: bool = False) -> Network:
    """Train and build the default design point, or find it in the store, and load it with the first test samples.

    Args:
        samples: how many.
        quick: of a network that was hardly trained; it only shows that everything works.

    Raises:
        FlowError: a stage failed.
    """
    point = load_point(MODELS / "econ_t" / "point.toml", list(QUICK) if quick else [])
    state = run_point(order(all_stages(point), UNTIL), point, Store(store_root()))
    if state.failures:
        raise FlowError("; ".join(f"{failure.stage}: {failure.message}" for failure in state.failures))
    model, data = load_model(point.model), read_dataset(state.paths["dataset"])
    head = model.off_chip(point.network.size)
    if head is None:
        raise FlowError("ECON-T has no decoder.")
    head.load_state_dict(torch.load(state.paths["head"], weights_only=True))
    chain = Chain(build(model, point, torch.load(state.paths["model"], weights_only=True)), head).eval()
    frozen = model.off_chip(point.network.size)
    if frozen is not None:
        frozen.load_state_dict(head.state_dict())
        frozen.eval().requires_grad_(requires_grad=False)
    x, y = (torch.from_numpy(np.ascontiguousarray(arrays["test"][:samples])) for arrays in (data.x, data.y))
    problem, words = with_engine(build_problem(load_twin(state.paths["qonnx"]), frozen, model.loss, x, y))
    return Network(point, MappingProxyType(dict(state.paths)), model, problem, chain, words)
