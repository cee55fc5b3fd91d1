"""Stage ``export``: Brevitas -> QONNX, and the first step of the exactness gate: Brevitas = twin."""

from pathlib import Path

from flow.config import DesignPoint
from flow.core.stage import Job, Stage
from flow.model import load_model, model_folder
from flow.stages._measuring import plugin_files
from flow.stages.data import read_dataset


def sources(point: DesignPoint) -> dict[str, Path]:
    """Return the model's code and the repairs of the file."""
    return {"model": model_folder(point.model), **plugin_files("quant.repairs", ("rounding_names", "strip_metadata"))}


def run(job: Job) -> None:
    """Export, and compare the twin of the file with Brevitas on every gate vector."""
    import numpy as np
    import torch

    from flow import gate
    from flow.quant.export import build, export, first_divergence
    from flow.quant.training import predict_exactly
    from flow.twin import load_twin

    torch.set_num_threads(1)
    point = job.point
    model, data = load_model(point.model), read_dataset(job.input("dataset"))
    network = build(model, point, torch.load(job.input("model"), weights_only=True))
    with job.log.open("a") as log:
        changes = export(network, torch.from_numpy(data.x["test"][:1]), job.output("qonnx"), log)
        log.write(f"repairs: {changes}\n")
    twin = load_twin(job.output("qonnx"))
    x = gate.vectors(data.x["test"], point.gate.samples, twin.input_format, job.rng(point.data.seed, "vectors"))
    expected = predict_exactly(network, x).numpy()
    with torch.no_grad():
        got = torch.cat([twin(twin.params, rows) for rows in torch.split(torch.from_numpy(x), 1024)]).double().numpy()
    count, where = gate.mismatches(expected, got)
    job.measure("gate_twin_mismatches", count, "samples", direction="lower", title="twin against Brevitas: samples that differ")
    job.measure("gate_twin_samples", len(x), "samples", title="twin against Brevitas: samples compared")
    if where is not None:
        layer = first_divergence(network, twin, torch.from_numpy(x[where[0]][None]).float())
        raise gate.report("twin", "brevitas", expected, got, layer, where, count)
    with job.output("vectors").open("wb") as stream:
        np.savez(stream, x=x, y=expected)


STAGE = Stage(
    "export", run, reads=("dataset", "model"), writes=("qonnx", "vectors"), measures=("gate_twin_*",),
    config=("model", "network", "data.seed", "gate.samples"),
    packages=("torch", "brevitas", "qonnx", "onnx", "onnxoptimizer", "onnxscript"),
    sources=sources, seconds=12,
)  # fmt: skip
