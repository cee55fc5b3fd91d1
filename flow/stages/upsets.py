"""Stage ``upsets``: bits of pipeline registers flip, each for one clock cycle; the simulated Verilog gives the same outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import ConfigError, MismatchError
from flow.core.metric import Metric
from flow.core.stage import Job, Stage
from flow.model import model_for, model_sources
from flow.robustness._environments import TABLE, environments, visible_days
from flow.rtl.simulate import DRIVER, simulator, version
from flow.stages._measuring import load_network
from flow.stages.data import read_dataset

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from flow.config import DesignPoint, RobustnessConfig
    from flow.robustness._subject import Subject
    from flow.rtl.upsets import Pipeline

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

TOOLS = simulator()


def sources(point: "DesignPoint") -> Mapping[str, Path]:
    """Return the model, the table of upset rates, and the C++ that drives the simulation."""
    return {**model_sources(point.model), "upset rates": TABLE, "driver": DRIVER}


def check(point: "DesignPoint") -> None:
    """Refuse a number of flips that has no interval, an environment that is not known, and a stream.

    Raises:
        ConfigError: registers.flips is 1, there is no such environment, or the network takes one pixel after the other.
    """
    if point.hardware.io == "stream":
        raise ConfigError(
            f"registers.flips = {point.registers.flips}: a flip is followed from stage to stage of a pipeline that takes a sample a cycle, "
            "and a stream (hardware.io) has line buffers and queues, in which it may stay. Set registers.flips = 0; bits of the weights "
            "are flipped all the same, by stage robustness."
        )
    environments(point.robustness)
    if point.registers.flips == 1:
        raise ConfigError("registers.flips = 1: one flip has no confidence interval. Draw more, for example 20000.")


@dataclass(frozen=True)
class Draws:
    """Register bits that flip, each while one sample is in the register, and what comes out.

    Attributes:
        bit: (n,) of all register bits.
        sample: (n,) of the scored samples.
        outputs: (n, outputs) words.
        undefined: (n,) whether they depend on what the Verilog leaves undefined.
        changed: (n,) whether any word is another one.
        worse: (n,) degradation of the score of the sample.
        visible: (n,) whether that is at least the share ``robustness.tolerance`` of the mean clean score.
    """

    bit: "Ints"
    sample: "Ints"
    outputs: "Array"
    undefined: "Flags"
    changed: "Flags"
    worse: "Array"
    visible: "Flags"


def run(job: Job) -> None:
    """Draw bits and samples, score what comes out, and inject some of the same flips into the Verilog.

    Raises:
        MismatchError: the Verilog gives other outputs, for a sample that is hit or for another one.
    """
    import numpy as np

    from flow import gate
    from flow.robustness._subject import build_subject
    from flow.rtl.graph import Graph
    from flow.rtl.lower import lower
    from flow.rtl.upsets import pipeline

    point, hardware = job.point, job.point.hardware
    job.progress(0.05, "alkaid makes adder trees")
    stages = pipeline(
        lower(Graph.load(job.input("lowered"))), job.input("verilog"), part=hardware.part, clock_ns=hardware.clock_ns,
        logic_per_stage=hardware.logic_per_stage, memory=int(point.robustness.memory_gb * 2**30),
    )  # fmt: skip
    data = read_dataset(job.input("dataset"))
    model = model_for(point.model, data)
    twin, head = load_network(job, model)
    x, y = (arrays["test"][: point.robustness.samples] for arrays in (data.x, data.y))
    subject = build_subject(twin, head, model.score, x, y)
    words = twin.input_format
    codes = np.clip(np.round(subject.x.astype(np.float64) / words.scale), words.low, words.high)
    inputs, clean = gate.channels_last(codes * words.scale), gate.words(subject.outputs.double().numpy())
    alone, _ = stages.outputs(inputs)
    count, where = gate.mismatches(clean, alone)
    if where is not None:
        raise gate.report("upsets", "twin", clean, alone, "output", where, count)
    job.progress(0.2, f"{point.registers.flips} register bits")
    draws = draw(subject, stages, inputs, clean, point.registers.flips, point.robustness.tolerance, job.rng(point.data.seed, "draws"))
    job.metrics.update(measures(subject, stages, draws, point.robustness.tolerance, job.rng(point.data.seed, "bootstrap")))
    error = f"a sample {100 * point.robustness.tolerance:g} % of {subject.score.title}"
    days = days_to_visible(point.robustness, job.metrics["register_flip_visible_percent"], int(stages.ends[-1]), error)
    job.metrics.update({f"register_days_to_visible_{place}": metric for place, metric in days.items()})
    arrays = records(stages, draws) | {
        "upsets_environments": np.array(list(days), np.str_), "upsets_days": np.array([m.value for m in days.values()], np.float64)
    }  # fmt: skip
    with job.output("upsets").open("wb") as file:
        np.savez(file, **arrays)
    job.progress(0.4, f"{TOOLS[0].name} builds the simulation")
    compare(job, stages, inputs, clean, draws)


def draw(
    subject: "Subject", stages: "Pipeline", x: "Array", clean: "Array", count: int, tolerance: float, rng: "np.random.Generator"
) -> Draws:
    """Draw register bits and samples, all alike and with replacement, and score what comes out.

    Args:
        subject: what scores.
        stages: the pipeline.
        x: (N, ...) its samples on the grid of the input words, channels last.
        clean: (N, outputs) words without a flip.
        count: how many.
        tolerance: share of the clean score that is visible.
        rng: draws them.
    """
    import torch

    bit, sample = rng.integers(0, stages.ends[-1], count), rng.integers(0, len(x), count)
    outputs, undefined = stages.outputs(x[sample], bit)
    hit = replace(
        subject, x=subject.x[sample], targets=subject.targets[sample], clean=subject.clean[sample],
        outputs=subject.outputs[torch.from_numpy(sample)],
    )  # fmt: skip
    worse = hit.degradation(hit.score_outputs(torch.from_numpy(images(outputs, subject.outputs.shape[1:])).to(subject.outputs.dtype)))
    changed = (outputs != clean[sample]).any(axis=1)
    return Draws(bit, sample, outputs, undefined, changed, worse, changed & (worse >= tolerance * abs(float(subject.clean.mean()))))


def images(words: "Array", shape: "Sequence[int]") -> "Array":
    """Return words (n, outputs) in the order of the port as outputs (n, *shape), channels first."""
    import numpy as np

    return np.ascontiguousarray(np.moveaxis(words.reshape(len(words), *shape[1:], shape[0]), -1, 1))


def measures(subject: "Subject", stages: "Pipeline", draws: Draws, tolerance: float, rng: "np.random.Generator") -> dict[str, Metric]:
    """Return the figures; all are per upset of a register bit while the pipeline is full, one sample a cycle."""
    from flow.statistics import mean_interval, quantile_interval

    score, bits = subject.score, int(stages.ends[-1])
    source = f"{len(draws.bit)} draws of {bits} register bits and {len(subject.x)} samples; the flip is there for a whole clock cycle"
    if draws.undefined.any():
        source += f"; {int(draws.undefined.sum())} of them select a table entry that the Verilog leaves undefined, taken as 0"
    mean, ci = mean_interval(draws.worse)
    high, high_ci = quantile_interval(draws.worse, 0.95, rng)
    what = f"{score.title} degradation of the sample that a flipped register bit hits"
    found = {
        "register_bits": Metric(bits, "bits", direction="lower", title="Bits of pipeline registers"),
        f"{score.id}_register_flip_1": Metric(mean, score.unit, direction="lower", ci=ci, source=source, title=what),
        f"{score.id}_register_flip_1_p95": Metric(
            high, score.unit, direction="lower", ci=high_ci, source=source, title=f"{what}, 95 % quantile"
        ),
    }
    for name, hits, title in (
        ("changed", draws.changed, "Flips of register bits that change an output word"),
        ("visible", draws.visible, f"Flips of register bits that cost a sample {100 * tolerance:g} % of {score.title}"),
    ):
        share, ci = _share(hits)
        found[f"register_flip_{name}_percent"] = Metric(share, "%", direction="lower", ci=ci, source=source, title=title)
    return found


def days_to_visible(config: "RobustnessConfig", share: Metric, bits: int, error: str) -> dict[str, Metric]:
    """Return the expected days between visible upsets of registers, by environment.

    An upset matters for the sample that is in the register only, so its rate is that of all register bits times the share that is visible;
    the pipeline is taken to be full, one sample a cycle.
    """
    places = environments(config)
    found = visible_days(places, share, bits, error)
    titles = {place.id: f"Expected time until an upset of a register costs {error}, {place.title}" for place in places}
    note = "the rate of a memory cell is taken for a flip-flop"
    return {name: replace(metric, title=titles[name], source=f"{metric.source}; {note}") for name, metric in found.items()}


def _share(hits: "Flags") -> tuple[float, tuple[float, float]]:
    """Return a share in percent and its 95 % interval (Wilson, JASA 22 (1927) 209)."""
    from scipy.stats import binomtest

    result = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return 100 * float(hits.mean()), (100 * float(result.low), 100 * float(result.high))


def records(stages: "Pipeline", draws: Draws) -> "dict[str, NDArray[np.generic]]":
    """Return arrays by register, the one of the input first; a mean over no draws is NaN.

    ``upsets_names``, ``upsets_bits``, ``upsets_draws``; shares of the draws ``upsets_changed``, ``upsets_visible``; the mean degradation
    ``upsets_degradation``.
    """
    import numpy as np

    register, _ = stages.locate(draws.bit)
    count = len(stages.registers)
    hits = np.bincount(register, minlength=count)

    def mean(values: "Array | Flags") -> "Array":
        sums = np.bincount(register, weights=values, minlength=count)
        return np.asarray(np.divide(sums, hits, out=np.full(count, np.nan), where=hits > 0))

    return {
        "upsets_names": np.array([r.name for r in stages.registers]), "upsets_bits": np.array([r.bits for r in stages.registers]),
        "upsets_draws": hits, "upsets_changed": mean(draws.changed), "upsets_visible": mean(draws.visible),
        "upsets_degradation": mean(draws.worse),
    }  # fmt: skip


def pick(register: "Ints", registers: int, count: int) -> "Ints":
    """Return up to `count` draws, as many of each register as there are; those of a register that does not exist never."""
    import numpy as np

    order = np.argsort(register, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(register[order], register[order])
    fair = np.argsort(rank, kind="stable")
    return fair[register[fair] < registers][:count].astype(np.int64)


def compare(job: Job, stages: "Pipeline", x: "Array", clean: "Array", draws: Draws) -> None:
    """Inject some of the flips, as many of each register as there are, into the Verilog, and compare every sample.

    Raises:
        MismatchError: with the first sample and values that differ.
    """
    import numpy as np

    from flow import gate
    from flow.rtl.injection import inject, schedule
    from flow.rtl.ports import Manifest

    manifest = Manifest.load(job.input("verilog") / "manifest.json")
    register, place = stages.locate(draws.bit)
    picked = pick(np.where(draws.undefined, len(stages.registers), register), len(stages.registers), job.point.registers.rtl_flips)
    others, at = schedule(manifest.latency, len(picked), len(x))
    index = others.copy()
    index[at] = draws.sample[picked]
    expected = clean[index]
    expected[at] = draws.outputs[picked]
    got, unknown = inject(job, job.input("verilog"), x[index], at, register[picked], place[picked], expected, TOOLS)
    count, where = gate.mismatches(expected, got)
    source, title = version(TOOLS), "RTL with flipped register bits against the logic: samples"
    job.measure("gate_upsets_mismatches", count, "samples", direction="lower", source=source, title=f"{title} that differ")
    job.measure("gate_upsets_samples", len(index), "samples", source=f"{source}; {len(picked)} of them hit", title=f"{title} compared")
    if where is not None:
        error = gate.report("upsets", "alkaid", expected, got, manifest.output_layer, where, count)
        name = next((stages.registers[register[picked[k]]].name for k in np.flatnonzero(at == where[0])), "none: it is a sample beside")
        raise MismatchError(f"{error} Register that was hit: {name}.")
    if unknown.any():
        raise MismatchError(f"gate: level 'upsets' has unknown (X) bits in {int(unknown.sum())} of {len(index)} samples.")


STAGE = Stage(
    "upsets", run, reads=("verilog", "lowered", "dataset", "qonnx", "head"), writes=("upsets",),
    measures=("gate_upsets_*", "register_*", "*_register_flip_*"),
    config=(
        "model", "network.size", "data.seed", "registers", "robustness.samples", "robustness.tolerance", "robustness.memory_gb",
        "robustness.environment", "robustness.upset_rate",
        "hardware.part", "hardware.clock_ns", "hardware.logic_per_stage",
    ), tools=TOOLS, packages=("alkaid", "torch", "numpy", "scipy", "onnx"), sources=sources, check=check, seconds=30,
)  # fmt: skip
