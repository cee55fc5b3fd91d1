"""Task score of a network on the test set, with confidence intervals, and whether it was trained at all."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import NotTrained
from flow.statistics import mean_interval

if TYPE_CHECKING:
    from flow.core.stage import Job
    from flow.model import Array, Dataset, Score


def score_interval(values: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """Return the mean of (N,) scores and its 95 % interval; samples without a score (NaN) are left out.

    Raises:
        NotTrained: fewer than two values exist, so there is nothing to average.
    """
    kept = values[np.isfinite(values)]
    if len(kept) < 2:
        raise NotTrained(f"Only {len(kept)} of {len(values)} test samples have a score; the output is degenerate.")
    return mean_interval(kept)


def measure_score(job: "Job", score: "Score", data: "Dataset", output: "Array", rng: np.random.Generator) -> None:
    """Record the task score, its extras and the trivial predictor's score on the test set.

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
    for name, (figure, unit, direction, title) in score.extras(output, target, rng).items():
        job.measure(name, figure, unit, direction=direction, source=f"{len(target)} test samples", title=title)
    gain, gain_ci = score_interval((theirs - ours) if score.direction == "lower" else (ours - theirs))
    if gain_ci[0] <= 0:
        raise NotTrained(
            f"The network did not train: its {score.title} of {value:.4g} is not significantly better than {base:.4g}, which a "
            f"constant output reaches (gain {gain:.4g}, 95 % interval {gain_ci[0]:.4g} to {gain_ci[1]:.4g}). "
            "Raise train.epochs, the bits or the learning rate, or weaken the regularizers."
        )
