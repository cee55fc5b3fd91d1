from flow.config import load_point, load_study
from flow.model import load_model

FOLDER = load_model("econ_t").folder


def test_point_is_valid_and_names_this_model():
    point = load_point(FOLDER / "point.toml")
    assert (point.model, point.name) == ("econ_t", "econ_t")
    assert point.network.size in load_model("econ_t").sizes
    assert point.data.path is None


def test_study_is_the_product_of_its_axes():
    study, points = load_study(FOLDER / "study.toml")
    assert study.name == "demo"
    assert len(points) == len({p.name for p in points}) == 12
    assert {p.network.weight_bits for p in points} == {4, 6, 8}
    assert sum("jacobian" in p.regularizers for p in points) == 6
