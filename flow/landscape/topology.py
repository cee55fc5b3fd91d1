"""Basins of the slices: persistence of the connected parts of sub-level sets.

Let the level rise over a slice. A part of the set below the level is born at each local minimum; where two parts meet, the one with the
higher minimum dies (elder rule; Edelsbrunner and Harer, Computational Topology, 2010, VII.1). Its *depth* is the level of its death less
that of its birth: what must be climbed to leave the basin for a lower one. The pairs of birth and death are the branches of the merge tree.
All eight neighbours of a grid point touch it. A minimum on the border of a slice counts, and a valley that is narrower than the grid may
look like a chain of basins.

The slices are random planes as in `flow.landscape.surface`, in float and through the quantizer. A trained network mostly has one basin in
float that is as wide as its weights, so that nothing is to be seen at a small radius; with few bits its rounded weights make many, and how
many are found also depends on the distance of the points. It hardly depends on the samples: the first 256 are enough. Cost:
``2 planes points^2`` forward passes of these, and n log n for a slice of n points.

Records: ``topology_pairs_float`` and ``topology_pairs_quantized``, (K, 3): plane, birth and death of every basin but the main one.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._directions import find_filters, random_directions
from flow.landscape._problem import Floats, Problem
from flow.landscape._slice import FORMS, plane
from flow.statistics import mean_interval

TITLE = "Topology of slices"
SAMPLES = 256
SHALLOW = 0.01  # basins less deep than this share of the clean loss are not counted
TITLES = {
    "basins": f"Basins deeper than {SHALLOW:.0%} of the loss",
    "depth": "Depth of the deepest basin beside the main one",
    "persistence": "Total depth of the basins beside the main one",
}


def _edges(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return the pairs of neighbours (E, 2) of a grid whose points are numbered row by row."""
    n = np.arange(shape[0] * shape[1]).reshape(shape)
    pairs = (n[1:], n[:-1]), (n[:, 1:], n[:, :-1]), (n[1:, 1:], n[:-1, :-1]), (n[1:, :-1], n[:-1, 1:])
    return np.concatenate([np.stack([a.reshape(-1), b.reshape(-1)], axis=1) for a, b in pairs])


def persistence(values: Floats) -> Floats:
    """Return birth and death of the parts of sub-level sets.

    Args:
        values: (H, W).

    Returns:
        (K, 2), deepest first, without parts that die where they are born, and without the one of the lowest minimum, which never dies.
    """
    flat, edges = values.reshape(-1), _edges(values.shape)
    heights = flat[edges].max(axis=1)
    sets, births, found = DisjointSet(range(flat.size)), flat.tolist(), []
    for edge in np.argsort(heights, kind="stable"):
        old, young = sorted((sets[int(point)] for point in edges[edge]), key=births.__getitem__)
        if old != young:
            found.append((births[young], heights[edge]))
            sets.merge(old, young)
            births[sets[old]] = births[old]
    pairs = np.array(found).reshape(-1, 2)
    pairs = pairs[pairs[:, 1] > pairs[:, 0]]
    return pairs[np.argsort(pairs[:, 0] - pairs[:, 1], kind="stable")]


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure basins of random planes: means over planes with an interval over planes; ``_quantized``: with weights on their grid.

    ``topology_basins``: number of basins deeper than 1 % of the clean loss, the main one among them. ``topology_depth``: depth of the
    deepest beside the main one, 0 if there is none. ``topology_persistence``: sum of the depths of all basins beside the main one.
    """
    few, filters, centre = problem.subset(slice(0, SAMPLES)), find_filters(problem), problem.quantized(problem.point[None])[0]
    shallow = SHALLOW * abs(float(few.mean_losses(centre[None], quantize=False)[0]))
    directions = random_directions(filters, centre, 2 * config.surface_planes, rng).reshape(config.surface_planes, 2, -1)
    axis = config.surface_radius * np.linspace(-1, 1, config.surface_points)
    where = f"{len(directions)} planes of {len(axis)}^2 points within {config.surface_radius:g} of the weights' norm"
    metrics = {}
    for form, quantize in FORMS.items():
        figures, pairs = [], []
        for i, pair in enumerate(directions):
            progress((quantize + i / len(directions)) / 2, f"{TITLE}, {form}")
            found = persistence(plane(few, centre, pair, np.stack([axis, axis]), quantize))
            depths = found[:, 1] - found[:, 0]
            figures.append((1 + np.count_nonzero(depths > shallow), depths.max(initial=0.0), depths.sum()))
            pairs.append(np.column_stack([np.full(len(found), float(i)), found]))
        problem.records[f"topology_pairs_{form}"] = np.concatenate(pairs)
        suffix, words = ("_quantized", ", weights on their grid") if quantize else ("", "")
        for (name, title), values in zip(TITLES.items(), np.array(figures).T, strict=True):
            value, ci = mean_interval(values)
            metrics[f"topology_{name}{suffix}"] = Metric(value, ci=ci, source=f"{where}, {len(few.x)} samples", title=title + words)
    return metrics
