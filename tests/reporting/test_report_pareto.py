from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.core.errors import ConfigError
from flow.core.metric import Metric
from flow.reporting.pareto import front, knee, partition

DIRECTIONS = st.lists(st.sampled_from(["lower", "higher"]), min_size=1, max_size=3)


def dominates(a, b, directions):
    signed = [(x if d == "lower" else -x, y if d == "lower" else -y) for x, y, d in zip(a, b, directions, strict=True)]
    return all(x <= y for x, y in signed) and any(x < y for x, y in signed)


@st.composite
def clouds(draw):
    directions = draw(DIRECTIONS)
    # Few different values, so that ties in some and in all objectives are frequent.
    values = st.integers(-3, 3) | st.floats(-2, 2, allow_nan=False)
    rows = draw(st.lists(st.tuples(*[values] * len(directions)), max_size=25))
    return directions, rows


def metrics(row, directions):
    return {f"m{k}": Metric(float(v), direction=d) for k, (v, d) in enumerate(zip(row, directions, strict=True))}


@settings(max_examples=300, deadline=None)
@given(clouds())
def test_front_is_the_set_that_nothing_dominates(cloud):
    directions, rows = cloud
    points = {f"p{i}": metrics(row, directions) for i, row in enumerate(rows)}
    expected = {f"p{i}" for i, row in enumerate(rows) if not any(dominates(other, row, directions) for other in rows)}
    assert front(points, [f"m{k}" for k in range(len(directions))]) == expected


def lut_emd(lut, emd, **change):
    return {
        "lut": Metric(lut, "LUT", **{"kind": "mapped", "part": "p", "direction": "lower", **change}),
        "emd": Metric(emd, "cm", direction="lower"),
    }


def test_points_that_tie_are_on_the_front_together_and_missing_numbers_take_no_part():
    points = {"a": lut_emd(1, 1), "b": lut_emd(1, 1), "c": lut_emd(2, 1), "d": {"emd": Metric(0.0, "cm", direction="lower")}}
    assert front(points, ["lut", "emd"]) == {"a", "b"}
    assert partition(points, ["lut", "emd"]).missing == {"d": ["lut"]}
    assert front({}, ["lut"]) == frozenset()


@pytest.mark.parametrize("change", [{"kind": "estimate"}, {"part": "q"}, {"direction": "higher"}])
def test_what_cannot_be_compared_is_refused_and_explained(change):
    points = {"a": lut_emd(1, 1), "b": lut_emd(2, 0.5, **change)}
    with pytest.raises(ConfigError, match=r"lut of a is .* and of b is"):
        front(points, ["lut", "emd"])


def test_units_are_not_mixed_either():
    points = {"a": lut_emd(1, 1), "b": lut_emd(2, 0.5)}
    points["b"]["emd"] = replace(points["b"]["emd"], unit="mm")
    with pytest.raises(ConfigError, match="emd of a"):
        front(points, ["lut", "emd"])
    assert partition(points, ["lut", "emd"]).groups == [["a"], ["b"]]


def test_a_metric_without_a_better_direction_and_an_empty_list_are_refused():
    with pytest.raises(ConfigError, match="no direction"):
        front({"a": {"x": Metric(1.0)}}, ["x"])
    with pytest.raises(ConfigError, match="one objective"):
        front({}, [])


def test_partition_puts_the_largest_group_first():
    points = {"a": lut_emd(1, 1, kind="estimate"), "b": lut_emd(2, 1), "c": lut_emd(3, 1)}
    assert partition(points, ["lut", "emd"]).groups == [["b", "c"], ["a"]]


def test_knee_is_the_corner_of_an_l_shape():
    points = {f"p{k}": lut_emd(x, y) for k, (x, y) in enumerate([(0, 10), (1, 1), (5, 0.5), (10, 0)])}
    names = front(points, ["lut", "emd"])
    assert knee(points, names, ("lut", "emd")) == "p1"


def test_no_knee_on_two_points_or_on_a_bulge():
    two = {"a": lut_emd(0, 1), "b": lut_emd(1, 0)}
    assert knee(two, frozenset(two), ("lut", "emd")) is None
    bulge = {"a": lut_emd(0, 10), "b": lut_emd(9, 9), "c": lut_emd(10, 0)}
    assert knee(bulge, frozenset(bulge), ("lut", "emd")) is None
