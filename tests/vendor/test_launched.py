"""The back end vitis with LAUNCHER=docker and in a batch system: fake programs of the vendor behind a fake Docker and a fake srun."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from flow.cli import main
from flow.core import container, launcher, plan
from flow.core.errors import LicenceUnavailable, ToolNotFound, ToolTimeout
from tests.core.launching import gone
from tests.fake_tools.vendor import fake_reports as fake
from tests.hls.networks import Layers
from tests.vendor.conftest import FAKES

VERSIONS = {"Vitis_HLS/2022.2/bin/vitis_hls": "2022.2", "Vivado/2022.2/bin/vivado": "2022.2", "Vivado/2019.2/bin/vivado_hls": "2019.2"}


@pytest.fixture
def site(tmp_path, monkeypatch, install):
    """A machine on whose PATH no tool of the vendor is; ``site(vivado="hang")`` sets modes of those below XILINX_ROOT."""
    install()
    root = tmp_path / "Xilinx"
    for name in ("docker", "batch"):
        (tmp_path / name).mkdir()
    for name, value in {"XILINX_ROOT": root, "FAKE_DOCKER_STATE": tmp_path / "docker", "FAKE_BATCH_STATE": tmp_path / "batch"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PATH", str(FAKES.parent), prepend=os.pathsep)
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    monkeypatch.setenv("HLSCAPE_STORE", str(tmp_path / "store"))
    for cache in (container._inspect.cache_clear, plan._version.cache_clear, launcher._TOLD.clear):
        cache()

    def write(**modes):
        for path, version in VERSIONS.items():
            program = root / path
            name = program.name.upper()
            program.parent.mkdir(parents=True, exist_ok=True)
            variables = f"FAKE_{name}_VERSION={version} FAKE_{name}={modes.get(program.name, '')} FAKE_STATE={tmp_path}/state"
            program.write_text(f'#!/bin/sh\nexport {variables}\nexec {FAKES}/{program.name} "$@"\n')
            program.chmod(0o755)

    write()
    yield write
    for cache in (container._inspect.cache_clear, plan._version.cache_clear, launcher._TOLD.clear):
        cache()


def runs(tmp_path):
    calls = map(json.loads, (tmp_path / "docker/calls").read_text().splitlines())
    return [call for call in calls if call[0] == "run"]


def left(tmp_path):
    return [path.name for path in (tmp_path / "docker").glob("hlscape-*") if path.suffix != ".ended"]


def test_stages_in_a_container(site, execute, tmp_path):
    job = execute("csynth", vendor={"max_gb": 8.0})
    assert job.metrics["csynth_lut"].value == fake.LUT
    assert job.metrics["csynth_lut"].source == "vitis_hls 2022.2"
    assert execute("cosim").metrics["gate_cosim_mismatches"].value == 0
    assert execute("vsynth").metrics["lut"].value == fake.MAPPED_LUT
    last = runs(tmp_path)[-1]
    assert last[last.index("--entrypoint") + 1] == str(tmp_path / "Xilinx/Vivado/2022.2/bin/vivado")
    assert last[last.index("--workdir") + 1] == str(tmp_path / "jobs/vsynth/work/vivado")
    assert any(call[call.index("--memory") + 1] == str(2**33) for call in runs(tmp_path) if "--memory" in call)
    versions = [call for call in runs(tmp_path) if call[-1] in ("-version", "--version")]
    assert len(versions) == 2, "each program is asked once"
    assert left(tmp_path) == []


@pytest.mark.parametrize(("mode", "error"), [("hang", ToolTimeout), ("child", ToolTimeout), ("licence", LicenceUnavailable)])
def test_errors_in_a_container(site, execute, tmp_path, mode, error):
    site(vitis_hls=mode)
    with pytest.raises(error):
        execute("csynth", vendor={"max_hours": 3 / 3600, "licence_retries": 0})
    assert left(tmp_path) == []
    for name in {"hang": ("pid",), "child": ("pid", "child")}.get(mode, ()):
        assert gone(int((tmp_path / "state" / name).read_text()))


def test_a_version_without_a_program_is_skipped(site, execute, tmp_path):
    (tmp_path / "Xilinx/Vitis_HLS/2022.2/bin/vitis_hls").unlink()
    assert execute("csynth").metrics["csynth_lut"].source == "vivado_hls 2019.2"
    (tmp_path / "Xilinx/Vivado/2019.2/bin/vivado_hls").unlink()
    with pytest.raises(ToolNotFound, match="vitis-run, vitis_hls, vivado_hls"):
        execute("csynth")


def test_stages_in_a_batch_system(site, execute, tmp_path, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "srun -c 4 --mem 32G")
    for path in VERSIONS:
        monkeypatch.setenv("PATH", str((tmp_path / "Xilinx" / path).parent), prepend=os.pathsep)
    assert execute("csynth").metrics["csynth_lut"].value == fake.LUT
    assert execute("vsynth").metrics["lut"].value == fake.MAPPED_LUT
    assert (tmp_path / "batch/calls").read_text().count("srun hlscape-") >= 4
    assert not list((tmp_path / "batch").glob("hlscape-*"))


@pytest.mark.slow
def test_command_line(site, tmp_path, monkeypatch, capsys, gxx):
    """The whole way; what is no tool of the vendor's runs outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HLSCAPE_G__", gxx)
    b = Layers(6)
    b.save(Path("net.onnx"), b.output(b.dense(b.relu(b.dense(b.input(), 6, 5)), 5, 3)))
    np.save("x.npy", np.random.default_rng(0).integers(0, 32, (200, 6)).astype(np.float32) / 16)
    words = ["run", "--onnx", "net.onnx", "--data", "x.npy", "--until", "vsynth", "--json"]
    words += [f"--set={s}" for s in ("name=net", "hardware.backend=vitis", "vendor.vsynth=synth", "gate.samples=64")]
    code = main(words)
    out, err = capsys.readouterr()
    assert code == 0, err
    document = json.loads(out)
    assert document["metrics"]["lut"]["source"] == "vivado 2022.2 (OOC)"
    entries = [call[call.index("--entrypoint") + 1] for call in runs(tmp_path)]
    assert {Path(entry).name for entry in entries} == {"vitis_hls", "vivado"}
    replay = next((tmp_path / "store/vsynth").glob("*/replay.sh")).read_text()
    assert " docker run --rm " in replay
    assert f"target={tmp_path}/store,readonly" in replay
    assert left(tmp_path) == []
    monkeypatch.setenv(launcher.VARIABLE, "")
    plan._version.cache_clear()
    assert main(words) == 2, "without the launcher there is no such program"
    assert "settings64.sh" in capsys.readouterr().err
