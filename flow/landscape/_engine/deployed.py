"""Which points are the deployed network but for a few faulty words; see `flow.landscape._engine.faults`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.landscape._problem import CHIP, Floats, Problem

Offsets = NDArray[np.int64]
FEWEST = 8  # points for which it pays to prepare the sums of the deployed network
LARGEST = 1 / 8  # of all parameters: with more changes it pays to compute everything anew


@dataclass(frozen=True)
class Deployed:
    """The deployed network, from which points with faults differ in a few words.

    Attributes:
        point: (D,).
        steps: the step of each word on chip, NaN for the parameters of the head, (D,).
        lowest: smallest code of each word (D,).
        highest: largest code.
    """

    point: Floats
    steps: Floats
    lowest: Floats
    highest: Floats

    def changes(self, points: Floats) -> tuple[Offsets, NDArray[np.int32], Floats] | None:
        """Return where the changes of each point (P, D) begin in a list (P + 1,), which parameters these are, and their values.

        Returns:
            None if there are few points, or many changes, or some that are no words on chip.
        """
        if len(points) < FEWEST or np.count_nonzero(points[0] != self.point) > LARGEST * self.point.size:
            return None
        place = np.flatnonzero(points != self.point)
        if len(place) > LARGEST * points.size:
            return None
        rows, columns = np.divmod(place, self.point.size)
        values = points.reshape(-1)[place]
        codes = values / self.steps[columns]
        if not ((codes == np.rint(codes)) & (codes >= self.lowest[columns]) & (codes <= self.highest[columns])).all():
            return None
        return np.searchsorted(rows, np.arange(len(points) + 1)), columns.astype(np.int32), values


def deployed_network(problem: Problem) -> Deployed:
    """Describe the deployed network of a problem."""
    low, high = np.zeros(problem.point.size), np.zeros(problem.point.size)
    for name, form in problem.twin.weights.items():
        where = problem.slices[CHIP + name]
        low[where], high[where] = (-(2.0 ** (form.bits - 1)), 2.0 ** (form.bits - 1) - 1) if form.signed else (0, 2.0**form.bits - 1)
    return Deployed(problem.quantized(problem.point[None])[0], problem.steps, low, high)
