"""Stage ``convert``: QONNX -> hls4ml project (Vitis HLS C++) and the lowered graph that the RTL is made of."""

from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.plugins import names
from flow.core.stage import Job, Stage
from flow.model import project_name
from flow.stages._measuring import plugin_files

if TYPE_CHECKING:
    from flow.config import DesignPoint


def sources(point: "DesignPoint") -> dict[str, Path]:
    """Return every repair."""
    return plugin_files("quant.repairs", names("quant.repairs"))


def run(job: Job) -> None:
    """Convert, and add what a person needs to run the project with Vitis."""
    from flow import gate
    from flow.hls.convert import convert, write_testbench_data

    point = job.point
    name = project_name(point.model)
    folder = job.output("project")
    with job.log.open("a") as log:
        graph = convert(job.input("qonnx"), folder, name, point.hardware.part, point.hardware.clock_ns, point.hardware.io, log)
    graph.save(job.output("lowered"))
    x, y = gate.read_vectors(job.input("vectors"))
    write_testbench_data(folder, x[:64], y[:64])


STAGE = Stage(
    "convert", run, reads=("qonnx", "vectors"), writes=("project", "lowered"),
    config=("model", "hardware.part", "hardware.clock_ns", "hardware.io"), packages=("hls4ml", "qonnx"), sources=sources, seconds=8,
)  # fmt: skip
