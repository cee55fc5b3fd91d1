import importlib

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
    assert study.name == "plasma_stream"
    assert len(points) == len({p.name for p in points}) == 18
    assert {p.network.weight_bits for p in points} == {4, 6, 8}
    assert {p.hardware.frame_rate_hz for p in points} == {195_312.5, 120e3, 30e3}
    assert max(p.hardware.frame_rate_hz * p.hardware.clock_ns for p in points) * 1024 == 1e9  # one pixel a clock


def test_the_card_has_the_parameters_of_the_simulator():
    card = (FOLDER / "README.md").read_text()
    name = load_model("plasma").load.__module__
    simulator, geometry = (importlib.import_module(name.replace(".data", part)) for part in (".simulator", ".geometry"))
    for words in (
        f"{geometry.MAJOR_RADIUS} m, {geometry.MINOR_RADIUS} m", f"theta - {geometry.STRAIGHT} sin theta",
        f"at {geometry.CAMERA_RADIUS} m radius, {geometry.CAMERA_HEIGHT} m high, tangent to {geometry.TANGENCY_RADIUS} m",
        f"half field {geometry.HALF_FIELD}", f"{geometry.COLUMN_RADIUS:.2f} m",
        f"{simulator.FRAME_RATE:,.0f} frames/s; one in {simulator.EVERY}",
        f"median {simulator.AMPLITUDE:g} G, spread e^{simulator.AMPLITUDE_SPREAD}", f"at most {simulator.LARGEST:g} G",
        f"{simulator.GROWTH * 1e6:g} us", f"{simulator.DISPLACEMENT * 1e3:g} mm/G, spread {simulator.DISPLACEMENT_SPREAD * 100:g} %",
        f"{simulator.SHELL:.2f} a; {simulator.INNER_WIDTH} a, {simulator.OUTER_WIDTH} a", f"{simulator.CORE} of the shell",
        f"{simulator.POSITION_SPREAD * 1e3:g} mm both ways; {simulator.SIZE_SPREAD * 100:g} %",
        f"{simulator.ELECTRONS_PER_CODE:g}; {simulator.READ_NOISE:g} electrons", f"{simulator.ELECTRONS:,.0f} electrons per m",
        f"{simulator.SCATTERED} of the mean direct light", f"spread {simulator.BRIGHTNESS_SPREAD * 100:g} % over shots",
    ):  # fmt: skip
        assert words in card, words
