"""Stage ``harden``: protected designs, built and priced, and what they buy; see `flow.protection`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow.core.errors import ConfigError, InvalidInput
from flow.core.stage import Job, Stage
from flow.core.tool import YOSYS
from flow.model import model_for, model_sources
from flow.stages._measuring import input_unit, load_network
from flow.stages.data import read_dataset

if TYPE_CHECKING:
    from flow.config import DesignPoint
    from flow.model import Array
    from flow.protection.criticality import Criticality
    from flow.robustness._subject import Subject
    from flow.synth._plan import Counts

MAP = "single_bit_map"
STORES = ("tmr", "ecc")
UNROLLED = {
    "registers": "the hardened netlist is tried with a sample in every cycle",
    "clip": "the network with bounds is built as one pipeline that takes a sample a cycle",
}  # methods that build the network anew, and why a stream cannot be built so


def sources(point: "DesignPoint") -> dict[str, Path]:
    """Return the model."""
    return model_sources(point.model)


def check(point: "DesignPoint") -> None:
    """Refuse to protect the most critical bits without a map of them, and of a stream all but stores of its weights.

    Raises:
        ConfigError: there is no map, or a method builds an unrolled network.
    """
    wrong = [method for method in point.protection.methods if method in UNROLLED]
    if wrong and point.hardware.io == "stream":
        raise ConfigError(
            f"protection.methods = {wrong[0]}: {UNROLLED[wrong[0]]}, and hardware.io = 'stream' is no such pipeline. Leave it out; "
            f"{' and '.join(STORES)}, which keep the weights, do not depend on hardware.io."
        )
    asked = [method for method in point.protection.methods if method != "registers"]
    if asked and MAP not in point.robustness.perturbations:
        raise ConfigError(f"protection.methods = {asked[0]}: add {MAP} to robustness.perturbations; it says which bits are critical.")


def run(job: Job) -> None:
    """Harden in every way that the point asks for.

    Raises:
        MismatchError: a mapped design does not compute what it should, or does not correct what it should.
    """
    import numpy as np

    from flow.protection import bits, clipping, pipeline

    point, methods = job.point, job.point.protection.methods
    document = json.loads(job.input("synth_report").read_text())
    network, tool = _counts(document["total"]), document["tool"]
    records: dict[str, Any] = {"harden_network_lut": np.array([network.lut]), "harden_network_ff": np.array([network.ff])}
    if set(methods) - {"registers"}:
        job.progress(0.02, "clean scores")
        subject = _subject(job)
        found = _map(job, subject, point.robustness.map_samples)
        records |= _bare(job, subject, found)
    job.output("hardened_rtl").mkdir()
    for i, method in enumerate(methods):
        one = _part_of(job, method, i, len(methods))
        one.progress(0.0, "map and simulate")
        if method in STORES:
            records |= bits.measure(one, method, subject, found, point.protection.shares, network, tool)
        elif method == "registers":
            records |= pipeline.measure(one, network, tool)
        elif method == "clip":
            records |= clipping.measure(one, subject, found, _training(job), network, tool)
    with job.output("hardened").open("wb") as file:
        np.savez(file, **records)


def _part_of(job: Job, method: str, number: int, total: int) -> Job:
    """Return the job with its progress within one of several methods."""
    return replace(job, progress=lambda fraction, text: job.progress(0.05 + 0.9 * (number + fraction) / total, f"{method}: {text}"))


def _counts(total: dict[str, Any]) -> "Counts":
    from flow.synth._plan import Counts

    return Counts(lut=total["lut"], ff=total["ff"], lut6_packed=total.get("lut6_packed"))


def _subject(job: Job) -> "Subject":
    """Return the network with the samples of stage ``robustness``, on the twin: few words are scored here."""
    from flow.robustness._subject import build_subject

    point, data = job.point, read_dataset(job.input("dataset"))
    model = model_for(point.model, data)
    twin, head = load_network(job, model)
    x, y = (arrays["test"][: point.robustness.samples] for arrays in (data.x, data.y))
    memory = int(point.robustness.memory_gb * 2**30)
    return build_subject(twin, head, model.score, x, y, input_unit(point.model, twin), memory=memory)


def _training(job: Job) -> "Array":
    """Return the inputs whose activations are the range: of training, or of validation where an imported network has no others.

    Raises:
        InvalidInput: there are none.
    """
    data = read_dataset(job.input("dataset"))
    for split in ("train", "validation"):
        if len(data.x[split]):
            return data.x[split]
    raise InvalidInput(
        "protection.methods = clip: there are no training or validation samples whose range activations could be bounded to."
    )


def _map(job: Job, subject: "Subject", samples: int) -> "Criticality":
    import numpy as np

    from flow.protection.criticality import Criticality
    from flow.robustness.single_bit_map import MOST

    with np.load(job.input("faults"), allow_pickle=False) as file:
        if f"{MAP}_degradation" not in file:
            raise InvalidInput(f"{job.input('faults')}: it has no map of single bits. Run stage robustness again.")
        harm, threshold = file[f"{MAP}_degradation"].astype(np.float64), float(file[f"{MAP}_threshold"])
    if len(harm) != subject.space().total:
        raise InvalidInput(f"the map has {len(harm)} bits, the network {subject.space().total}. Run stage robustness again.")
    return Criticality(harm, threshold, min(samples, len(subject.x), MOST // len(harm)))


def _bare(job: Job, subject: "Subject", found: "Criticality") -> dict[str, Any]:
    """Record what a store without protection is: a flip-flop for each bit, and no logic."""
    import numpy as np

    total, left = len(found.harm), {"visible": 100 * found.visible.mean(), "degradation": found.harm.mean()}
    source = f"all {total} bits, {found.samples} samples"
    for key, unit, title in (
        ("visible", "%", "Visible errors, weight store without protection"),
        ("degradation", subject.score.unit, f"{subject.score.title} degradation for an upset, weight store without protection"),
    ):  # fmt: skip
        job.measure(f"harden_bare_{key}", left[key], unit, direction="lower", source=source, title=title)
    return {f"harden_bare_{key}": np.array([value]) for key, value in (*left.items(), ("ff", total), ("lut", 0))}


STAGE = Stage(
    "harden", run, reads=("faults", "verilog", "synth_report", "netlist", "lowered", "qonnx", "dataset", "head", "vectors"),
    writes=("hardened", "hardened_rtl"), measures=("harden_*",),
    config=(
        "model", "network.size", "data.seed", "robustness.samples", "robustness.map_samples", "robustness.memory_gb", "protection",
        "hardware.part", "hardware.clock_ns", "hardware.logic_per_stage", "hardware.dsp",
    ), tools=(YOSYS,), packages=("torch", "numpy", "scipy", "onnx", "alkaid"), sources=sources, check=check, seconds=60,
)  # fmt: skip
