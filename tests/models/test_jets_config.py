from flow.model import load_model
from flow.points import load_point, load_study

FOLDER = load_model("jets").folder


def test_point_is_valid_and_names_this_model():
    point = load_point(FOLDER / "point.toml")
    assert (point.model, point.name) == ("jets", "jets")
    assert point.network.size in load_model("jets").sizes
    assert point.data.path is None


def test_study_is_the_product_of_its_axes():
    study, points = load_study(FOLDER / "study.toml")
    assert study.name == "jets"
    assert len(points) == len({p.name for p in points}) == 6
    assert {(p.network.weight_bits, p.seed) for p in points} == {(w, s) for w in (4, 6, 8) for s in (0, 1)}
