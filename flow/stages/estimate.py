"""Stage ``estimate``: the lowered graph -> what the open back end would find, each figure with its interval; and the rules of hls4ml."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import ConfigError
from flow.core.stage import Job, Stage

if TYPE_CHECKING:
    from flow.config import DesignPoint

FAMILIES = ("xc7", "xcu", "xcup")  # of the calibration
TITLES = {
    "lut": ("LUT", "Look-up tables"), "lut6_packed": ("LUT6", "LUT6 when small tables share one"), "ff": ("FF", "Flip-flops"),
    "latency_cycles": ("cycles", "Latency"),
}  # fmt: skip


def check(point: "DesignPoint") -> None:
    """Refuse a part for which nothing was calibrated.

    Raises:
        ConfigError: with the parts that are known, or the families that were measured.
    """
    from flow.synth._parts import PARTS, find_part

    part = find_part(point.hardware.part)
    if part.family not in FAMILIES:
        known = ", ".join(p.example for p in PARTS if p.family in FAMILIES)
        raise ConfigError(
            f"hardware.part = '{point.hardware.part}': the fast estimate was calibrated for Xilinx parts only ({known}). "
            "Choose one of them, or hardware.backend = 'open'."
        )


def sources(point: "DesignPoint") -> Mapping[str, Path]:
    """Return the calibration."""
    from flow.estimate.model import CALIBRATION

    return {"calibration": CALIBRATION}


def run(job: Job) -> None:
    """Count, evaluate, say whether the calibration covers the network."""
    from flow.estimate import features, strategy
    from flow.rtl.graph import Graph

    hardware, graph = job.point.hardware, Graph.load(job.input("lowered"))
    levels = features.levels_per_stage(hardware.part, hardware.clock_ns, hardware.logic_per_stage)
    found = features.features(graph, levels)
    if hardware.estimate == "traced" and hardware.io == "parallel":
        from flow.rtl.lower import lower

        job.progress(0.1, "alkaid makes adder trees")
        found["alkaid_cost"] = max(float(lower(graph).logic.cost), 1.0)
    document: dict[str, object] = {"features": found}
    if hardware.io == "parallel":  # the calibration is of networks that are unrolled as a whole
        document |= _evaluate(job, found, features.unknown(graph, hardware.logic_per_stage))
    _count(job, found)
    multipliers = strategy.count(graph, hardware.strategy, hardware.reuse_factor)
    rule = f"rule {strategy.VERSION} of hls4ml, strategy {hardware.strategy}, reuse factor {hardware.reuse_factor}; without interval"
    for name, value, unit, title in (
        ("hls_dsp", multipliers.dsp, "DSP", "DSP slices of the hls4ml project"),
        ("hls_bram18", multipliers.bram18, "BRAM18", "Block RAMs of 18 kbit of the hls4ml project"),
    ):
        job.measure(name, value, unit, kind="estimate", direction="lower", source=rule, part=hardware.part, title=title)
    job.output("estimate_report").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def _count(job: Job, found: Mapping[str, float]) -> None:
    for name, unit, title in (
        ("bops", "bit operations", "Bit operations (Hawks et al., arXiv:2102.11289)"),
        ("weights", "weights", "Weights that are not zero"),
        ("digits", "digits", "Signed digits of all products"),
    ):
        job.measure(name, found[name], unit, kind="estimate", direction="lower", source="counted from the lowered graph", title=title)


def _evaluate(job: Job, found: Mapping[str, float], unknown: list[str]) -> dict[str, object]:
    """Measure the figures of the open back end and return what the report of the stage says about them."""
    from flow.estimate import model
    from flow.rtl import fabric
    from flow.synth._parts import find_part

    name = job.point.hardware.part
    part, table = find_part(name), model.calibration()
    beyond = [*model.outside(found, table.ranges()), *unknown]
    if table.delay_model != fabric.VERSION:
        beyond.append(f"pipelines of delay model {fabric.VERSION}, not {table.delay_model}")
    source = f"estimate {model.VERSION} from {len(table.features)} networks ({table.source}), 95 % prediction interval"
    source += f"; OUTSIDE of what was calibrated: {'; '.join(beyond)}" if beyond else ""
    figures = {figure: model.law(figure, "alkaid_cost" in found).predict(found) for figure in TITLES}
    for figure, (unit, title) in TITLES.items():
        e = figures[figure]
        job.measure(
            figure, round(e.value), unit, kind="estimate", direction="lower", ci=(e.low, e.high), source=source, part=name, title=title
        )  # fmt: skip
    for figure, most in (("lut", part.lut), ("ff", part.ff)):
        e = figures[figure]
        share = [100 * v / most for v in (e.value, e.low, e.high)]
        job.measure(
            f"{figure}_percent", share[0], "%", kind="estimate", direction="lower", ci=(share[1], share[2]), source=source, part=name,
            title=f"{TITLES[figure][1]}, share of the part",
        )  # fmt: skip
    clock, e = job.point.hardware.clock_ns, figures["latency_cycles"]
    job.measure(
        "latency_ns", round(e.value) * clock, "ns", kind="estimate", direction="lower", ci=(e.low * clock, e.high * clock), source=source,
        part=name, title="Latency at the target clock (timing not verified)",
    )  # fmt: skip
    job.measure("ii_cycles", 1, "cycles", kind="estimate", direction="lower", source="unrolled pipeline", title="Cycles between two inputs")
    job.measure(
        "dsp", 0, "DSP", kind="estimate", direction="lower", source="adder trees have no multipliers", part=name, title="DSP slices"
    )
    title = "Features outside of what was calibrated; above 0 the intervals do not hold"
    job.measure("estimate_outside", len(beyond), "features", kind="estimate", direction="lower", source=source, title=title)
    return {"outside": beyond, "figures": {k: [e.value, e.low, e.high] for k, e in figures.items()}, "calibration": table.source}


STAGE = Stage(
    "estimate", run, reads=("lowered",), writes=("estimate_report",),
    measures=(
        "bops", "weights", "digits", "lut", "lut6_packed", "ff", "dsp", "latency_cycles", "latency_ns", "ii_cycles",
        "lut_percent", "ff_percent", "estimate_outside", "hls_dsp", "hls_bram18",
    ),
    config=(
        "hardware.part", "hardware.clock_ns", "hardware.logic_per_stage", "hardware.io", "hardware.strategy", "hardware.reuse_factor",
        "hardware.estimate",
    ), packages=("numpy", "scipy", "alkaid"), sources=sources, check=check, seconds=1,
)  # fmt: skip
