import re

import pytest

from flow.model import load_model
from flow.points import load_point, load_study
from flow.quant.layers import FloatLayers

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


@pytest.mark.parametrize("bits", [3, 9])
def test_latent_width_and_mixed_precision_reach_their_layers(bits):
    point = load_point(FOLDER / "point.toml", [f"network.latent_bits={bits}", "network.layers.conv.bits=4"])
    layers = FloatLayers(point.network)
    load_model("econ_t").on_chip(layers, point.network.size)
    layers.check_names()
    assert {name: site.bits for name, site in layers.sites.items()} == {"input": 8, "conv": 4, "relu": 6, "dense": 6, "latent": bits}


def test_the_layers_of_the_card_exist():
    card = (FOLDER / "README.md").read_text()
    layers = FloatLayers(load_point(FOLDER / "point.toml").network)
    load_model("econ_t").on_chip(layers, "baseline")
    row = next(line for line in card.splitlines() if "network.layers.<layer>" in line)
    assert set(re.findall(r"`(\w+)`", row)) - {"bits", "rounding"} == set(layers.sites)
