"""``hlscape run`` with the back end vitis: the whole way of a tiny network, with fake programs behind the real C++ and its C-simulation."""

import json

import numpy as np
import pytest

from flow.cli import main
from flow.core import plan
from tests.fake_tools.vendor import fake_reports as fake
from tests.hls.networks import Layers


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The C++ is compiled once; each test has programs of other versions, so what they make is not shared."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def hlscape(tmp_path, monkeypatch, capsys, install, store, gxx):
    """Call ``hlscape run`` on an imported network of two layers, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    b = Layers(6)
    b.save(tmp_path / "net.onnx", b.output(b.dense(b.relu(b.dense(b.input(), 6, 5)), 5, 3)))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 32, (200, 6)).astype(np.float32) / 16)
    monkeypatch.setenv("HLSCAPE_STORE", str(store))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HLSCAPE_G__", gxx)

    def call(*words, command="run"):
        plan._version.cache_clear()
        small = ("robustness.samples=32", "robustness.trials=2", "robustness.flip_samples=8", "landscape.samples=16", "gate.samples=64")
        small += ('landscape.metrics=["sharpness"]', 'robustness.perturbations=["bit_flip"]')
        sets = ("name=net", "hardware.backend=vitis", "vendor.licence_wait_s=0", *small, *(w for w in words if "=" in w))
        options = [w for w in words if "=" not in w]
        files = ("--onnx", "net.onnx", "--data", "x.npy")
        capsys.readouterr()
        code = main([command, *files, *(f"--set={s}" for s in sets), *options])
        return code, *capsys.readouterr()

    return call


def test_the_whole_way(hlscape, install, tmp_path, monkeypatch):
    fakes = install("vitis_hls", "vivado")
    code, out, err = hlscape("vendor.cosim=true", "vendor.vsynth=synth")
    assert code == 0, err
    rows = {line[:36].strip(): line for line in out.splitlines()}
    assert f"{fake.LUT}" in rows["Look-up tables, high-level"], out
    line = rows["Look-up tables"]
    assert (f"{fake.MAPPED_LUT}" in line, "mapped" in line, "vivado 2022.2" in line) == (True, True, True)
    assert "cosim 0/64" in out
    page = (tmp_path / "reports" / "net" / "index.html").read_text()
    for words in ("vitis_hls 2022.2", "vivado 2022.2", "csynth", "mapped"):
        assert words in page

    code, out, _ = hlscape("vendor.cosim=true", "vendor.vsynth=synth", "--json")
    document = json.loads(out)
    metrics = document["metrics"]
    assert all(stage["cached"] for stage in document["stages"].values())
    assert (metrics["csynth_lut"]["value"], metrics["csynth_lut"]["class"]) == (fake.LUT, "csynth")
    assert (metrics["lut"]["value"], metrics["lut"]["class"], metrics["lut"]["source"]) == (
        fake.MAPPED_LUT, "mapped", "vivado 2022.2 (OOC)"
    )  # fmt: skip
    assert document["gate"]["levels"]["cosim"] == {"mismatches": 0, "samples": 64}
    assert document["gate"]["mismatches"] == 0

    before = len(fakes.calls())
    code, out, _ = hlscape("vendor.cosim=true", "vendor.vsynth=route", "vendor.max_hours=3", "vendor.max_gb=64", "--json")
    stages = {name: stage["cached"] for name, stage in json.loads(out)["stages"].items()}
    assert [name for name, cached in stages.items() if not cached] == ["vsynth"], "no other stage depends on what was changed"
    assert json.loads(out)["metrics"]["lut"]["class"] == "routed"
    assert [call[0] for call in fakes.calls()[before:] if "-version" not in call] == ["vivado"]

    monkeypatch.setenv("FAKE_VITIS_HLS_VERSION", "2023.1")
    _, out, _ = hlscape("vendor.vsynth=off", command="explain")
    assert "vitis_hls 2022.2" in out
    assert "vitis_hls 2023.1" in out


def test_what_is_finished_is_kept_and_a_failure_costs_no_score(hlscape, install, monkeypatch):
    install("vitis_hls", "vivado", vivado="licence", vivado_version="2021.2", vitis_hls_version="2021.2")
    code, out, err = hlscape("vendor.licence_retries=1", "--json")
    assert code == 1, err
    document = json.loads(out)
    assert document["stages"]["csynth"]["status"] == "ok"
    assert document["stages"]["vsynth"]["status"] == "failed"
    assert document["failures"]["net"][0]["error"] == "LicenceUnavailable"
    assert "csynth_lut" in document["metrics"]
    assert "lut" not in document["metrics"]
    assert any("flip" in name for name in document["metrics"]), "robustness does not depend on a licence"
    monkeypatch.delenv("FAKE_VIVADO")
    code, out, _ = hlscape("--json")
    document = json.loads(out)
    assert code == 0
    assert document["metrics"]["lut"]["value"] == fake.MAPPED_LUT
    assert [name for name, stage in document["stages"].items() if not stage["cached"]] == ["vsynth"]


@pytest.mark.parametrize(
    ("programs", "sets", "words"),
    [
        ((), (), ("none of vitis-run, vitis_hls, vivado_hls was found", "settings64.sh")),
        (("vitis_hls",), (), ("vivado was not found", "HLSCAPE_VIVADO")),
        (("vitis_hls", "vivado"), ("hardware.part=xc[exec date]",), ("hardware.part = 'xc[exec date]'", "only letters")),
        (
            ("vitis_hls", "vivado"),
            ("hardware.strategy=distributed_arithmetic", "hardware.reuse_factor=2"),
            ("reuse_factor = 2", "resource"),
        ),
        ((), ("hardware.backend=open", "hardware.reuse_factor=4"), ("hardware.reuse_factor = 4", "in parallel", "vitis")),
        ((), ("hardware.backend=open", "hardware.strategy=resource"), ("hardware.strategy = resource", "vitis")),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(hlscape, install, tmp_path, monkeypatch, programs, sets, words):
    install(*programs)
    monkeypatch.setenv("HLSCAPE_STORE", str(tmp_path / "store"))
    code, _, err = hlscape(*sets)
    assert code == 2
    assert "Traceback" not in err
    assert [word for word in words if word not in err] == []
    assert not list((tmp_path / "store").glob("*/*/result.json"))


def test_a_large_layer_is_refused_before_synthesis(hlscape, install):
    fakes = install("vitis_hls", "vivado", vitis_hls_version="2023.2")
    code, _, err = hlscape("vendor.max_unrolled=20", "--until", "csynth")
    assert code == 1
    assert "30 multiplications are unrolled" in err
    assert [call for call in fakes.calls() if "-version" not in call] == []
