"""Design points and studies of imported networks."""

import pytest

from flow.core.errors import ConfigError
from flow.core.plan import order
from flow.points import build_point, load_point, load_study
from flow.stages import all_stages, import_


def test_point(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "p.toml").write_text('onnx = "my net.onnx"\n[data]\npath = "d.npz"\n')
    point = load_point(tmp_path / "sub" / "p.toml")
    assert (point.onnx, point.data.path) == (str(tmp_path / "sub" / "my net.onnx"), str(tmp_path / "sub" / "d.npz"))
    assert point.name == "my_net"
    monkeypatch.chdir(tmp_path)
    assert load_point(tmp_path / "sub" / "p.toml", ["onnx=other.onnx"]).onnx == str(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "give either model, a folder of models/, or onnx"), ({"model": "econ_t", "onnx": "a.onnx"}, "give either model"),
        ({"onnx": "a.onnx"}, "onnx needs data.path"), ({"onnx": "a.onnx", "data": {"path": ""}}, "onnx needs data.path"),
        ({"onnx": "a", "data": {"path": "d", "split": [0.5, 0.3, 0.2]}, "train": {}, "seed": 0, "network": {"weight_bits": 4}},
         "seed, train, network.weight_bits, data.split: no effect on an imported network"),
    ],
)  # fmt: skip
def test_wrong_points(document, words):
    with pytest.raises(ConfigError) as error:
        build_point(document, "here")
    assert words in str(error.value)


def test_stages(tmp_path):
    point = build_point({"onnx": "a", "data": {"path": "d"}}, "here")
    ids = [stage.id for stage in order(all_stages(point))]
    assert ids[:3] == ["import", "convert", "csim"]
    assert {"landscape", "robustness", "synth"} <= set(ids)
    assert not {"data", "pretrain", "train", "export"} & set(ids)
    assert [s.id for s in all_stages(build_point({"model": "m"}, "here"))] == [s.id for s in all_stages()]


def test_study_of_hardware(tmp_path):
    (tmp_path / "p.toml").write_text('onnx = "a.onnx"\ndata.path = "d.npz"\n')
    axes = 'onnx = ["a.onnx", "b.onnx"]\n"hardware.clock_ns" = [4.0, 5.0]\n'
    (tmp_path / "s.toml").write_text(f'name = "s"\npoint = "p.toml"\n[axes]\n{axes}')
    _, points = load_study(tmp_path / "s.toml")
    assert {p.onnx for p in points} == {str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx")}
    assert len({p.name for p in points}) == 4


def test_sources_are_the_files():
    point = build_point({"onnx": "/a/n.onnx", "data": {"path": "/b/d.npz"}}, "here")
    assert {k: str(p) for k, p in import_.sources(point).items()} == {"onnx": "/a/n.onnx", "data": "/b/d.npz"}
