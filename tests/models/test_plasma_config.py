from flow.model import load_model
from flow.points import load_point, load_study
from flow.synth._parts import find_part

FOLDER = load_model("plasma").folder


def test_point_is_valid_and_names_this_model():
    point = load_point(FOLDER / "point.toml")
    assert (point.model, point.name) == ("plasma", "plasma")
    assert point.network.size in load_model("plasma").sizes
    assert (point.network.weight_bits, point.network.input_bits) == (6, 8)
    assert point.data.path is None
    assert point.hardware.io == "stream"
    assert find_part(point.hardware.part).device == "xcku035"


def test_study_is_the_product_of_its_axes():
    study, points = load_study(FOLDER / "study.toml")
    assert study.name == "plasma"
    assert len(points) == len({p.name for p in points}) == 6
    assert {p.network.weight_bits for p in points} == {4, 6, 8}
