"""Quantization-aware training: what a step costs, against the same network in float and in Brevitas."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from flow.config import DataConfig, NetworkConfig, TrainConfig
from flow.core.errors import FlowError
from flow.model import Dataset, Model, load_model, model_names
from flow.points import load_point
from flow.quant.brevitas_layers import BrevitasLayers
from flow.quant.calibrate import calibrate
from flow.quant.layers import FloatLayers, fold_norms
from flow.quant.straight import StraightLayers, load_float
from flow.quant.training import Chain, run_epoch
from flow.regularizers import Penalty, combine

from .compare import METHOD, Entry, software, version
from .memory import peak_mib
from .timing import Times, load_words, race

TITLE = "a step of quantization-aware training, forward, backward and Adam"
LIMIT = 2.5
FLOAT, STRAIGHT, LEARNED, PENALTY, BREVITAS = "float", "quantized", "quantized, learned scales", "quantized, jacobian penalty", "Brevitas"
STEPS = {128: 8, 1024: 1}


def _load(name: str) -> tuple[Model, NetworkConfig, Dataset]:
    model = load_model(name)
    network = load_point(model.folder / "point.toml").network
    with tempfile.TemporaryDirectory() as scratch:
        return model, network, model.load(DataConfig(samples=400), lambda done, words: None, Path(scratch))


def _repeat(data: Dataset, count: int) -> Dataset:
    """Return a training set of `count` samples; they repeat, because their values do not change the work."""
    rows = np.arange(count) % len(data.x["train"])
    return replace(data, x={"train": data.x["train"][rows]}, y={"train": data.y["train"][rows]})


def _epoch(network: Chain, model: Model, data: Dataset, batch: int, penalty: Penalty | None = None) -> Callable[[], float]:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    config, rng = TrainConfig(batch=batch), np.random.default_rng(0)
    return lambda: run_epoch(network, data, model.loss, penalty, config, optimizer, rng)


def contestants(model: Model, network: NetworkConfig, data: Dataset, batch: int) -> dict[str, Callable[[], float]]:
    """Return an epoch of each build of a network, from the same random weights."""
    torch.manual_seed(0)
    layers, size = FloatLayers(network), network.size
    folded = Chain(model.on_chip(layers, size), model.off_chip(size))
    unfolded = copy.deepcopy(folded)
    fold_norms(folded)
    scales = calibrate(folded.on_chip, layers, torch.from_numpy(data.x["train"][:512]), model.input_max)

    def quantized(config: NetworkConfig) -> Chain:
        chain = Chain(model.on_chip(StraightLayers(config, scales), size), model.off_chip(size))
        load_float(chain, folded.state_dict())
        return chain

    brevitas = Chain(model.on_chip(BrevitasLayers(network, scales), size), model.off_chip(size))
    learned = network.model_copy(update={"scales": "learned"})
    return {
        FLOAT: _epoch(unfolded, model, data, batch),
        STRAIGHT: _epoch(quantized(network), model, data, batch),
        LEARNED: _epoch(quantized(learned), model, data, batch),
        PENALTY: _epoch(quantized(network), model, data, batch, combine({"jacobian": 3e-4})),
        BREVITAS: _epoch(brevitas, model, data, batch),
    }


def _rows(found: dict[str, Times], steps: int) -> Iterator[str]:
    yield f"  {'':<30}{'wall ms':>9}{'CPU ms':>9}{'x float':>9}{'10 to 90 %':>16}"
    for name, times in found.items():
        wall, cpu = (1000 * float(np.median(seconds)) / steps for seconds in (times.wall, times.cpu))
        middle, low, high = times.ratio(found[FLOAT])
        spread = "" if name == FLOAT else f"{low:.2f} to {high:.2f}"
        limit = f"   limit {LIMIT}{'' if middle <= LIMIT else '  ABOVE'}" if name == STRAIGHT else ""
        yield f"  {name:<30}{wall:>9.2f}{cpu:>9.2f}{middle:>9.2f}{spread:>16}{limit}"


def _entry(name: str, batch: int, steps: int, found: dict[str, Times], peaks: dict[str, float | None], rounds: int) -> Entry:
    """Return the figures of a step against Brevitas."""
    middle, low, high = found[BREVITAS].ratio(found[STRAIGHT])
    ours, peer = (float(np.median(found[who].cpu)) / steps for who in (STRAIGHT, BREVITAS))
    return Entry(f"qat_step_{name}_{batch}", {
        "ours_s": ours, "peer_s": peer, "peer": f"{version('brevitas')}, constant scales", "ratio": middle, "ratio_low": low,
        "ratio_high": high, "work": f"a step of quantization-aware training of {name}, batch {batch}: forward, backward, Adam",
        "ours_mib": peaks[STRAIGHT], "peer_mib": peaks[BREVITAS], "baseline": "competent", "rounds": rounds, **METHOD,
        "software": software(),
    })  # fmt: skip


def run(quick: bool = False) -> Iterator[str | Entry]:
    """Time every model of the checkout at two batch sizes; yields lines to print and entries.

    Args:
        quick: one short round of the first model, to see that everything works; its figures say nothing.
    """
    torch.set_num_threads(1)
    rounds = 1 if quick else 15
    for name in model_names()[: 1 if quick else None]:
        try:
            model, network, data = _load(name)
        except FlowError as error:  # a model may need packages or files that are not here
            yield f"{name} is left out: {error}\n"
            continue
        for batch, steps in [(32, 1)] if quick else STEPS.items():
            builds = contestants(model, network, _repeat(data, batch * steps), batch)
            found = race(builds, rounds)
            yield f"{name}, {network.size}, batch {batch}: steps a round {steps}, medians of {rounds} rounds, {load_words()}"
            yield from _rows(found, steps)
            peaks = {who: peak_mib(builds[who]) for who in (STRAIGHT, BREVITAS)}
            yield _entry(name, batch, steps, found, peaks, rounds)
            yield ""
