"""Stage ``route``: the mapped netlist of an ECP5 part -> place and route, the clock it reaches, and a bitstream."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.errors import ConfigError, ToolFailed, ToolTimeout
from flow.core.stage import Job, Stage
from flow.core.tool import YOSYS
from flow.synth._nextpnr import ECPPACK, NEXTPNR

if TYPE_CHECKING:
    from flow.config import DesignPoint
    from flow.core.metric import Direction
    from flow.rtl.ports import Manifest
    from flow.synth._nextpnr import Routed
    from flow.synth._plan import BuildPlan, Command

TOOLS = {tool.name: tool for tool in (YOSYS, NEXTPNR, ECPPACK)}


def check(point: "DesignPoint") -> None:
    """Refuse a part, package or speed grade that is not sold, and pins that the bitstream will not have.

    Raises:
        ConfigError: with those that are sold, or that it will have.
    """
    from flow.synth import _harness
    from flow.synth._ecp5 import target

    target(point.hardware.part)
    io = point.hardware.io
    if unknown := sorted(set(point.route.pins) - set(_harness.PINS[io])):
        raise ConfigError(
            f"route.pins.{unknown[0]}: with hardware.io = '{io}' the pins of the bitstream are {', '.join(_harness.PINS[io])}."
        )


def run(job: Job) -> None:
    """Link, place and route once a seed, pack the fastest.

    Raises:
        DoesNotFit: the part has too few cells or wires.
        FlowError: a program is missing, fails, or leaves no report.
    """
    from flow.rtl.ports import Manifest
    from flow.synth import _nextpnr
    from flow.synth._ecp5 import target

    point, netlist, work = job.point, job.input("netlist"), job.work / "route"
    manifest = Manifest.load(job.input("verilog") / "manifest.json")
    names = json.loads((netlist / "netlist.json").read_text())["modules"]
    seeds = range(1, point.route.seeds + 1)
    pins = {str(pin): site for pin, site in point.route.pins.items()}
    linked = _nextpnr.link(manifest, {f"{name}.v": (netlist / f"{name}.v").read_text() for name in names}, pins)
    linked.write(work)
    job.progress(0.01, "link the modules")
    _execute(job, linked, work)
    _execute(job, _nextpnr.place(target(point.hardware.part), point.hardware.clock_ns, seeds), work)
    runs = [_nextpnr.read(work / f"seed{seed}.json", seed) for seed in seeds]
    best = max(runs, key=lambda run: run.fmax)
    job.progress(0.98, "pack the bitstream")
    _execute(job, _nextpnr.pack(best.seed), work)
    _write(job, work, manifest, best)
    _measure(job, manifest, best, runs)


def _execute(job: Job, plan: "BuildPlan", work: Path) -> None:
    """Run the commands of a plan; the seeds share the bar of progress."""
    from flow.synth._nextpnr import Progress, explain

    limit, part = job.point.route.max_hours * 3600, job.point.hardware.part
    following = {command.name: Progress() for group in plan.groups for command in group if command.tool == NEXTPNR.name}

    def call(command: "Command") -> None:
        progress = following.get(command.name)

        def watch(line: str, resident: int) -> None:
            if progress is not None and (words := progress.see(line)):
                done = sum(p.fraction for p in following.values()) / len(following)
                job.progress(0.03 + 0.94 * done, f"{command.name}: {words}" if len(following) > 1 else words)

        try:
            job.run_tool(TOOLS[command.tool], list(command.args), cwd=work, timeout=limit, watch=watch)
        except (ToolFailed, ToolTimeout) as error:
            raise explain(error, part) from None

    plan.execute(call)


def _write(job: Job, work: Path, manifest: "Manifest", best: "Routed") -> None:
    from flow.synth import _harness

    folder = job.output("route")
    folder.mkdir()
    for source, name in ((f"seed{best.seed}.json", "report.json"), (f"seed{best.seed}.config", "network.config")):
        shutil.copyfile(work / source, folder / name)
    for name in ("network.bit", "harness.v"):
        shutil.copyfile(work / name, folder / name)
    pins = _harness.PINS[manifest.io]
    places = PLACED if set(pins) <= set(job.point.route.pins) else UNPLACED.format(pins=", ".join(pins[:-1]) + f" and {pins[-1]}")
    words = README.format(part=job.point.hardware.part, top=manifest.top, count={4: "four", 5: "five"}[len(pins)], places=places)
    (folder / "README.md").write_text(words)


def _measure(job: Job, manifest: "Manifest", best: "Routed", runs: "list[Routed]") -> None:
    from flow.synth._harness import cells

    part, slowest, fastest = job.point.hardware.part, min(run.fmax for run in runs), best.fmax
    where = "inside the network" if best.inside else "at the harness, so the network alone may be faster"
    seeds = f"fastest of {len(runs)} seeds, {slowest:.1f} to {fastest:.1f} MHz" if len(runs) > 1 else f"seed {best.seed}"
    source = f"nextpnr-ecp5 {NEXTPNR.read_version()}, network between registers of a harness"
    timing, space = f"{source}; slowest path {where}; {seeds}", f"{source}, which are not counted"
    luts, registers = (best.used[kind] - own for kind, own in zip(("TRELLIS_COMB", "TRELLIS_FF"), cells(manifest), strict=True))
    luts += 2 * best.used.get("TRELLIS_RAMW", 0)  # the write port of distributed RAM takes the two tables of a slice
    share = 100 * luts / best.available["TRELLIS_COMB"]
    for key, value, unit, origin, title in (
        ("fmax_mhz", fastest, "MHz", timing, "Highest clock frequency, placed and routed"),
        ("wns_ns", job.point.hardware.clock_ns - 1000 / fastest, "ns", timing, "Worst slack at the target clock, placed and routed"),
        ("routed_latency_ns", manifest.latency * 1000 / fastest, "ns", timing, "Latency at the highest routed clock"),
        ("routed_lut", luts, "LUT4", space, "Look-up tables of 4 inputs, placed"),
        ("routed_ff", registers, "FF", space, "Flip-flops, placed"),
        ("routed_lut_percent", share, "%", space, "Look-up tables, placed, share of the part"),
    ):  # fmt: skip
        better: Direction = "higher" if key in ("fmax_mhz", "wns_ns") else "lower"
        job.measure(key, value, unit, kind="routed", direction=better, source=origin, part=part, title=title)
    if manifest.io == "stream":
        title = "Frames per second at the highest routed clock"
        rate = fastest * 1e6 / manifest.interval
        job.measure("routed_frames_per_s", rate, "1/s", kind="routed", direction="higher", source=timing, part=part, title=title)


PLACED = "They are where `route.pins` says, at 3.3 V."
UNPLACED = "nextpnr chose pins of them,\nso **do not load it into a board** before `route.pins` says where each of {pins} is."
README = """# A network in a bitstream for {part}

`network.bit` holds `{top}` in the harness of `harness.v`, which says how bits go in and come out through {count} pins. {places}

`network.config` is the same as text (Project Trellis), `report.json` the timing and utilization that nextpnr reports. Nothing here was
loaded into a device.
"""
STAGE = Stage(
    "route", run, reads=("verilog", "netlist", "netsim_gate"), writes=("route",),
    measures=("fmax_mhz", "wns_ns", "routed_*"),
    config=("hardware.part", "hardware.clock_ns", "route"), tools=tuple(TOOLS.values()), packages=(), check=check, seconds=300,
)  # fmt: skip
