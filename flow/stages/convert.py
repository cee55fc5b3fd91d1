"""Stage ``convert``: QONNX -> hls4ml project (Vitis HLS C++) and the lowered graph that the RTL is made of."""

import json
import re

from flow.core.stage import Job, Stage
from flow.model import model_folder


def run(job: Job) -> None:
    """Convert, and add what a person needs to run the project with Vitis."""
    import numpy as np

    from flow import gate
    from flow.hls.convert import convert, write_testbench_data

    point = job.point
    name = re.sub(r"\W", "_", model_folder(point.model).name)
    folder = job.output("project")
    with job.log.open("a") as log:
        graph = convert(job.input("qonnx"), folder, name, point.hardware.part, point.hardware.clock_ns, log)
    graph.save(job.output("lowered"))
    x, y = gate.read_vectors(job.input("vectors"))
    write_testbench_data(folder, x[:64], y[:64])
    info = {
        "top": name,
        "inputs": int(np.prod(x.shape[1:])),
        "outputs": y.shape[1],
        "layers": {layer.name: int(np.prod(layer.shape)) for layer in graph.layers if layer.kind != "Input"},
    }
    (folder / "hlscape.json").write_text(json.dumps(info, indent=1) + "\n")


STAGE = Stage(
    "convert", run, reads=("qonnx", "vectors"), writes=("project", "lowered"), config=("model", "hardware.part", "hardware.clock_ns"),
    packages=("hls4ml", "qonnx"), seconds=8,
)  # fmt: skip
