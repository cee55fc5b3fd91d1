"""Stage ``convert``: QONNX -> hls4ml project (Vitis HLS C++) and the lowered graph that the RTL is made of."""

from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.plugins import names
from flow.core.stage import Job, Stage
from flow.hls import adder_trees
from flow.model import project_name
from flow.stages._measuring import plugin_files

if TYPE_CHECKING:
    from flow.config import DesignPoint


def sources(point: "DesignPoint") -> dict[str, Path]:
    """Return every repair, and what makes adder trees if the point asks for them."""
    return plugin_files("quant.repairs", names("quant.repairs")) | adder_trees.source(point.hardware.strategy)


def check(point: "DesignPoint") -> None:
    """Refuse a strategy that cannot work.

    Raises:
        ConfigError: adder trees with a reuse factor.
        ToolNotFound: da4ml, which makes them, is missing.
    """
    adder_trees.check(point.hardware.strategy, point.hardware.reuse_factor)


def run(job: Job) -> None:
    """Convert, and add what a person needs to run the project with Vitis."""
    from flow import gate
    from flow.hls.convert import Hls, convert, write_testbench_data

    point, hardware = job.point, job.point.hardware
    hls = Hls(hardware.strategy, hardware.reuse_factor, hardware.clock_uncertainty)
    name = project_name(point.model)
    folder = job.output("project")
    with job.log.open("a") as log:
        graph = convert(job.input("qonnx"), folder, name, hardware.part, hardware.clock_ns, hardware.io, log, hls)
    graph.save(job.output("lowered"))
    x, y = gate.read_vectors(job.input("vectors"))
    write_testbench_data(folder, x[:64], y[:64])


STAGE = Stage(
    "convert", run, reads=("qonnx", "vectors"), writes=("project", "lowered"),
    config=("model", *(f"hardware.{key}" for key in ("part", "clock_ns", "io", "strategy", "reuse_factor", "clock_uncertainty"))),
    packages=("hls4ml", "qonnx"), sources=sources, check=check, seconds=8,
)  # fmt: skip
