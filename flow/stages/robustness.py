"""Stage ``robustness``: how much worse the task score becomes under perturbations, by the plug-ins of `flow.robustness`."""

from pathlib import Path

from flow.config import DesignPoint
from flow.core.plugins import names
from flow.core.stage import Job, Stage
from flow.core.tool import GXX
from flow.model import model_for, model_sources
from flow.stages._measuring import input_unit, load_network, measure_all, plugin_files
from flow.stages.data import read_dataset

RANKING_SAMPLES = 512
RATES = Path(__file__).parent.parent / "robustness" / "upset_rates.toml"


def sources(point: DesignPoint) -> dict[str, Path]:
    """Return the model, the plug-ins that the point names, the table of upset rates, and the file of recorded noise by content."""
    noise = {"noise": Path(point.robustness.noise_file)} if point.robustness.noise_file else {}
    rates = {"upset rates": RATES}
    return {**model_sources(point.model), **plugin_files("robustness", point.robustness.perturbations), **rates, **noise}


def check(point: DesignPoint) -> None:
    """Refuse an environment that is not known, and a file of recorded noise that cannot be used, before hours of work.

    Raises:
        FlowError: what is wrong, and where.
    """
    from flow.robustness._environments import environments
    from flow.robustness._noise_file import check_file

    config = point.robustness
    environments(config)
    if config.noise_file is not None and "measured_noise" in config.perturbations:
        check_file(Path(config.noise_file), config.noise_unit)


def run(job: Job) -> None:
    """Measure on the first test samples; draws are the same for every point with the same data seed."""
    import numpy as np
    import torch

    from flow.landscape._problem import build_problem
    from flow.robustness._subject import build_subject
    from flow.stages._compiled import with_engine

    point = job.point
    data, memory = read_dataset(job.input("dataset")), int(point.robustness.memory_gb * 2**30)
    model = model_for(point.model, data)
    twin, head = load_network(job, model)
    x, y = (arrays["test"][: point.robustness.samples] for arrays in (data.x, data.y))
    split = "validation" if len(data.x["validation"]) else "test"
    inputs, targets = (torch.from_numpy(arrays[split][:RANKING_SAMPLES]) for arrays in (data.x, data.y))
    problem = with_engine(job, build_problem(twin, head, model.loss, inputs, targets, memory), point.robustness.engine)
    detector = data.unit["test"][: len(x)] if "test" in data.unit else None
    unit = str(data.notes.get("detector_unit", ""))
    subject = build_subject(
        twin, head, model.score, x, y, input_unit(point.model, twin), problem, detector, unit, memory, job.scratch
    )  # fmt: skip
    measure_all(job, "robustness", subject, point.robustness, point.robustness.perturbations)
    if point.compat:
        from flow.robustness import _pylandscape

        rng = job.rng(point.data.seed, point.compat)
        job.metrics.update(_pylandscape.measure(subject, point.robustness, rng, lambda fraction, text: job.progress(1.0, text)))
    records: dict[str, object] = dict(subject.records)
    with job.output("faults").open("wb") as file:
        np.savez(file, **records)  # type: ignore[arg-type]


STAGE = Stage(
    "robustness", run, reads=("dataset", "qonnx", "head"), writes=("faults",),
    measures=("pylandscape_*", "upset_*", "*_gauss_*", "*_salt_*", "*_flip_*", *(f"*_{name}_*" for name in names("robustness"))),
    config=("model", "network.size", "data.seed", "robustness", "compat"), tools=(GXX,),
    packages=("torch", "numpy", "scipy", "onnx", "POT", "pandas", "h5py"), sources=sources, check=check, seconds=40,
)  # fmt: skip
