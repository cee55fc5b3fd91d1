"""A toy flow with the stages that a screening looks at, importable by worker processes: its figures are formulas of the point.

Regularizer l2 alone, which no bit width knows, decides how robust a point is, and the trace shows it after one epoch. `data.samples`
below 300 is a study in which the trace shows nothing.
"""

import numpy as np

from flow.config import DesignPoint
from flow.core.errors import NotTrained
from flow.core.stage import Job, Stage


def _noise(job: Job, what: str) -> float:
    return float(job.rng(job.point.seed, f"{what} {job.point.network.weight_bits} {job.point.regularizers}").normal())


def _strength(point: DesignPoint) -> float:
    return float(point.regularizers.get("l2", 0.0))


def _pretrain(job: Job) -> None:
    job.output("float_model").write_text(str(job.point.train.pretrain_epochs))


def _train(job: Job) -> None:
    if job.point.train.batch == 1 and job.point.train.epochs < 5 and job.point.network.weight_bits == 4:
        raise NotTrained("4 bits need more epochs")
    job.output("model").write_text(str(job.point.train.epochs))
    job.measure("emd", 1 + 1 / job.point.train.epochs + 0.1 * _noise(job, "emd"), direction="lower", ci=(0.0, 3.0), title="EMD")
    job.measure("emd_trivial", 9.0, direction="lower", title="EMD of a constant")


def _landscape(job: Job) -> None:
    level = _strength(job.point) if job.point.data.samples >= 300 else 0.0
    values = {"hessian_trace": level + 0.1 * _noise(job, "trace"), "gradient_norm": _noise(job, "gradient")}
    for name, value in values.items():
        job.measure(name, float(np.exp(value)), direction="lower", title=name.replace("_", " "))


def _robustness(job: Job) -> None:
    for name, size in (("emd_gauss_5", 0.5), ("emd_gauss_10", 1.0), ("emd_gauss_20", 2.0)):
        job.measure(name, size * (_strength(job.point) + 0.1 * _noise(job, "gauss")), "mm", direction="lower", title="EMD degradation")


CONFIG = ("network.weight_bits", "regularizers", "seed", "data.samples")
STAGES = [
    Stage("pretrain", _pretrain, writes=("float_model",), config=("seed", "train.pretrain_epochs")),
    Stage("train", _train, reads=("float_model",), writes=("model",), measures=("emd*",), config=(*CONFIG, "train")),
    Stage("landscape", _landscape, reads=("model",), measures=("*",), config=CONFIG),
    Stage("robustness", _robustness, reads=("model",), measures=("*",), config=CONFIG),
]


def planner(point: DesignPoint | None = None) -> list[Stage]:
    """Return the stages of any point."""
    return STAGES
