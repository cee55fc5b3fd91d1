"""Slices of the loss: lines and planes through the deployed weights, in float and through the quantizer.

*Random* slices go along filter-normalised directions (Li et al., arXiv:1712.09913; see `flow.landscape._directions`): one unit of the axis
is a change as large as the weights, and `surface_radius` its half width. *Hessian* slices go along the eigenvectors v_1, v_2 of the
largest eigenvalues of the Hessian of the deployed weights. There the loss rises so fast that the axis is short: its half width along v_k is
w_k = sqrt(2 L_0 / lambda_k), where the quadratic model predicts that the loss L_0 has doubled, and at most the norm of the weights.

All slices have the deployed weights as their centre. *Float*: changed weights are real numbers of any size. *Quantized*: they are rounded
to the grid and clipped to their format, so the loss is piecewise constant; both agree at the centre. Activations are quantized in both.
Axes are also given in LSB: the root mean square over the deployed weights, without biases, of the change in steps of each.

One plane says little about a network: the rise differs several times between two random planes. So figures are means over the lines along
both directions of each of `surface_planes` planes, with an interval over these lines; a plane is there to be looked at. Cost:
``4 points^2 + (4 planes + 2) points`` forward passes, and some 30 products of the Hessian with a vector.

Records, with P = `surface_points`, losses as they are and index i along the first direction, j along the second:

``surface_random_float``, ``surface_random_quantized``: (P, P), the first random plane; ``surface_random_axis`` (P,) is the axis of both
directions relative to the weights, ``surface_random_axis_lsb`` (2, P) that of each in LSB.
``surface_lines_float``, ``surface_lines_quantized``, ``surface_lines_axis_lsb``: (2 planes, P), lines along the random directions.
``surface_hessian_float``, ``surface_hessian_quantized``: (P, P); ``surface_hessian_axis`` (2, P) in units of the eigenvectors,
``surface_hessian_axis_lsb`` (2, P); ``surface_hessian_eigenvalues`` (2,). Not there if fewer than two eigenvalues are positive.
``surface_weight_float``, ``surface_weight_quantized``, ``surface_weight_axis_lsb``: (P,), a line along which one weight moves alone, that
of the largest component of v_1 in LSB: the terraces.
"""

import numpy as np

from flow.config import LandscapeConfig
from flow.core.metric import Metric
from flow.core.stage import Progress
from flow.landscape._directions import Filters, find_filters, random_directions, steps_per_unit
from flow.landscape._problem import Floats, Problem
from flow.landscape._slice import FORMS, hessian_plane, lines, plane
from flow.statistics import mean_interval

TITLE = "Loss surface"
WEIGHT_STEPS = 4.0  # half width of the line of one weight, LSB


def _random(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, filters: Filters, progress: Progress) -> dict[str, Metric]:
    """Measure lines along random directions, and record these and the first plane."""
    centre, records = problem.quantized(problem.point[None])[0], problem.records
    directions = random_directions(filters, centre, 2 * config.surface_planes, rng)
    axis = np.linspace(-config.surface_radius, config.surface_radius, config.surface_points)
    steps = steps_per_unit(problem, filters, directions)
    both = {}
    for i, (form, quantize) in enumerate(FORMS.items()):
        progress(0.05 + 0.2 * i, f"{TITLE}, random directions, {form}")
        both[form] = records[f"surface_lines_{form}"] = lines(problem, centre, directions, axis, quantize)
        records[f"surface_random_{form}"] = plane(problem, centre, directions[:2], np.stack([axis, axis]), quantize)
    records["surface_random_axis"], records["surface_lines_axis_lsb"] = axis, steps[:, None] * axis
    records["surface_random_axis_lsb"] = records["surface_lines_axis_lsb"][:2]
    clean = both["float"][:, config.surface_points // 2]
    words = f"within {config.surface_radius:g} of the weights' norm along random directions"
    source = f"{len(directions)} filter-normalised directions, {config.surface_points} points each, {len(problem.x)} samples"

    def figure(values: Floats, title: str) -> Metric:
        value, ci = mean_interval(values)
        return Metric(value, direction="lower", ci=ci, source=source, title=title)

    return {
        "surface_rise": figure(both["float"].mean(axis=1) - clean, f"Mean loss rise {words}"),
        "surface_rise_quantized": figure(both["quantized"].mean(axis=1) - clean, f"Mean loss rise {words}, weights on their grid"),
        "surface_terrace": figure(
            np.abs(both["quantized"] - both["float"]).mean(axis=1), f"Mean change of the loss by rounding the weights, {words}"
        ),
        "surface_lsb": Metric(
            float(steps.mean()), unit="LSB", source="filter-normalised directions", title="RMS change of a weight at a relative radius of 1"
        ),
    }


def _hessian(
    problem: Problem, config: LandscapeConfig, rng: np.random.Generator, filters: Filters, progress: Progress
) -> dict[str, Metric]:
    """Measure and record the plane of the two largest eigenvalues; nothing where the loss or the curvature is not positive."""
    records, points = problem.records, config.surface_points
    progress(0.45, f"{TITLE}, eigenvectors")
    found = hessian_plane(problem, filters, rng)
    if found is None:
        return {}
    axes, steps = found.axes(points), steps_per_unit(problem, filters, found.vectors)
    for i, (form, quantize) in enumerate(FORMS.items()):
        progress(0.5 + 0.25 * i, f"{TITLE}, Hessian directions, {form}")
        records[f"surface_hessian_{form}"] = plane(problem, found.centre, found.vectors, axes, quantize)
    records["surface_hessian_axis"], records["surface_hessian_axis_lsb"] = axes, steps[:, None] * axes
    records["surface_hessian_eigenvalues"] = found.eigenvalues
    _one_weight(problem, config, filters, found.centre, found.vectors[0])
    line, rounded = records["surface_hessian_float"][:, points // 2], records["surface_hessian_quantized"][:, points // 2]
    value, width = float(found.eigenvalues[0]), float(found.widths[0])
    source = f"eigenvalue {value:.4g}, clean loss {found.clean:.4g}, {len(problem.x)} samples"
    ends = f"{points} points in +-{width:.3g}, {source}"
    return {
        "surface_hessian_width": Metric(
            width * float(steps[0]), unit="LSB", direction="higher", source=source,
            title="RMS change of a weight along the top eigenvector that doubles the loss in the quadratic model",
        ),
        "surface_hessian_rise": Metric(
            float((line[0] + line[-1]) / 2 - found.clean) / (value * width**2 / 2), source=ends,
            title="Loss rise along the top eigenvector relative to the quadratic model",
        ),
        "surface_hessian_terrace": Metric(
            float(np.abs(rounded - line).mean()), direction="lower", source=ends,
            title="Mean change of the loss by rounding the weights along the top eigenvector",
        ),
    }  # fmt: skip


def _one_weight(problem: Problem, config: LandscapeConfig, filters: Filters, centre: Floats, vector: Floats) -> None:
    """Record the line of the weight whose component of a vector is the most LSB."""
    moved = np.where(filters.weights, np.abs(vector) / problem.steps, 0.0)
    chosen = int(np.argmax(np.nan_to_num(moved)))
    direction = np.zeros_like(centre)
    direction[chosen] = problem.steps[chosen]
    axis = np.linspace(-WEIGHT_STEPS, WEIGHT_STEPS, config.surface_points)
    problem.records["surface_weight_axis_lsb"] = axis
    for form, quantize in FORMS.items():
        problem.records[f"surface_weight_{form}"] = lines(problem, centre, direction[None], axis, quantize)[0]


def measure(problem: Problem, config: LandscapeConfig, rng: np.random.Generator, progress: Progress) -> dict[str, Metric]:
    """Measure the slices, and record them.

    ``surface_rise``, ``surface_rise_quantized``: mean of L - L_0 over the lines. ``surface_terrace``: mean of the distance between the
    quantized and the float line. ``surface_lsb``: LSB per unit of the random axes, which is that of the weights themselves.
    ``surface_hessian_width``: half width w_1 in LSB. ``surface_hessian_rise``: mean rise at -w_1 and w_1 over lambda_1 w_1^2 / 2; 1 if
    the loss is quadratic.
    ``surface_hessian_terrace``: as ``surface_terrace``, along v_1. The last three have no interval: nothing in them is random.
    """
    progress(0.0, TITLE)
    filters = find_filters(problem)
    return _random(problem, config, rng, filters, progress) | _hessian(problem, config, rng, filters, progress)
