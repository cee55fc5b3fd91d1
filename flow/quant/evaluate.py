"""Task score of a network on the test set, with confidence intervals, and whether it was trained at all."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import NotTrained
from flow.core.metric import Metric
from flow.statistics import mean_interval

if TYPE_CHECKING:
    from flow.core.stage import Job
    from flow.model import Array, Dataset, Score


RETRAIN = "Raise train.epochs, the bits or the learning rate, or weaken the regularizers."


def score_interval(values: NDArray[np.float64], split: str = "test") -> tuple[float, tuple[float, float]]:
    """Return the mean of (N,) scores and its 95 % interval; samples without a score (NaN) are left out.

    Raises:
        NotTrained: fewer than two values exist, so there is nothing to average.
    """
    kept = values[np.isfinite(values)]
    if len(kept) < 2:
        raise NotTrained(f"Only {len(kept)} of {len(values)} {split} samples have a score; the output is degenerate.")
    return mean_interval(kept)


def measure_float(job: "Job", score: "Score", output: "Array", target: "Array", rng: np.random.Generator) -> None:
    """Record the task score of the float network, and those of its extras that have a better and a worse, as ``<id>_float``."""
    value, ci = score_interval(score.per_sample(output, target))
    source = f"{len(target)} test samples, Student's t"
    base = Metric(value, score.unit, direction=score.direction, ci=ci, source=source, title=score.title)
    extras = {name: metric for name, metric in score.extras(output, target, rng).items() if metric.direction != "none"}
    for name, metric in {score.id: base, **extras}.items():
        job.metrics[f"{name}_float"] = replace(metric, title=f"{metric.title} of the float network")


def measure_score(
    job: "Job", score: "Score", data: "Dataset", output: "Array", rng: np.random.Generator, remedy: str = RETRAIN
) -> None:  # fmt: skip
    """Record the task score, its extras and the trivial predictor's score on the test set; `remedy` tells what to do if it is no better.

    Raises:
        NotTrained: the network is not significantly better than the best constant output: the 95 % interval of the paired
            difference includes zero. A collapsed network ignores its input and so looks perfectly robust.
    """
    target = data.y["test"]
    trivial = np.broadcast_to(score.trivial(data.y["train"]), target.shape)
    ours, theirs = score.per_sample(output, target), score.per_sample(np.ascontiguousarray(trivial, dtype=np.float32), target)
    base, base_ci = score_interval(theirs)
    value, ci = score_interval(ours)
    source = f"{len(target)} test samples, Student's t"
    job.measure(score.id, value, score.unit, direction=score.direction, ci=ci, source=source, title=score.title)
    title = f"{score.title} of the best constant output"
    job.measure(f"{score.id}_trivial", base, score.unit, direction=score.direction, ci=base_ci, source=source, title=title)
    job.metrics.update(score.extras(output, target, rng))
    gain, gain_ci = score_interval((theirs - ours) if score.direction == "lower" else (ours - theirs))
    if gain_ci[0] <= 0:
        raise NotTrained(
            f"The network did not train: its {score.title} of {value:.4g} is not significantly better than {base:.4g}, which a "
            f"constant output reaches (gain {gain:.4g}, 95 % interval {gain_ci[0]:.4g} to {gain_ci[1]:.4g}). "
            f"{remedy}"
        )
