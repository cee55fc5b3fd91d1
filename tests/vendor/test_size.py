"""Sizes of unrolled designs, and what is advised."""

import json

import pytest

from flow.core.errors import TooLarge
from flow.vendor.size import HlsProject, LayerSize, check_size, read_project
from tests.vendor.conftest import describe


def layer(name="fc", strategy="latency", reuse=1, products=0, words=0):
    return LayerSize(name, strategy, reuse, products, words)


def refused(project, most=4096, together=32768):
    with pytest.raises(TooLarge) as caught:
        check_size(project, most, together)
    return str(caught.value)


def test_what_a_layer_unrolls(tmp_path):
    row = {"name": "conv", "kind": "Conv2D", "reuse_factor": 4, "words": 300, "products": 90, "positions": 3}
    for strategy, io, products, words in (
        ("latency", "parallel", 270, 300), ("resource", "parallel", 68, 300), ("distributed_arithmetic", "stream", 270, 0)
    ):  # fmt: skip
        describe(tmp_path, io, [{**row, "strategy": strategy}])
        assert read_project(tmp_path) == HlsProject("net", io, (LayerSize("conv", strategy, 4, products, words),))
    assert read_project(tmp_path).reuse_factors == (4,)


def test_the_limit_itself_fits():
    check_size(HlsProject("net", "parallel", (layer(products=4096, words=4096),)), 4096, 4096)


def test_every_layer_that_is_too_large_is_named():
    text = refused(HlsProject("net", "parallel", (layer("a", products=5000), layer("b", products=10), layer("c", products=70_000))))
    assert "layer a: 5000 multiplications are unrolled (strategy latency, reuse factor 1)" in text
    assert "layer c: 70000" in text
    assert "layer b" not in text
    assert "hardware.reuse_factor of 18 or more" in text
    check_size(HlsProject("net", "parallel", (layer("c", "resource", 18, -(-70_000 // 18)),)), 4096, 32768)


def test_a_reuse_factor_does_not_help_a_latency_design():
    text = refused(HlsProject("net", "parallel", (layer(reuse=8, products=5000),)))
    assert "reuse factor 8, which does not make the array of a latency design smaller" in text
    assert "hardware.strategy = 'resource'" in text


def test_a_larger_factor_is_asked_of_a_resource_design():
    assert "reuse_factor of 6 or more" in refused(HlsProject("net", "stream", (layer(strategy="resource", reuse=4, products=6000),)))


def test_images_in_registers():
    text = refused(HlsProject("net", "parallel", (layer(words=10_000), layer(products=20))))
    assert "10000 output words are registers side by side" in text
    assert "Set hardware.io = 'stream'" in text
    assert "resource" not in text


def test_all_layers_together():
    project = HlsProject("net", "parallel", tuple(layer(f"l{i}", products=3000 + i) for i in range(12)))
    text = refused(project)
    assert "all layers together: 36066 multiplications are unrolled, more than 32768; most of them, 3011, by layer l11" in text
    check_size(project, 4096, 40_000)


def test_a_file_that_is_no_description(tmp_path):
    (tmp_path / "hlscape.json").write_text(json.dumps({"top": "net", "io": "parallel", "hls": [{}]}))
    with pytest.raises(Exception, match="KeyError"):
        read_project(tmp_path)
