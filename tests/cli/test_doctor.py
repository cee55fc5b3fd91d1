"""`hlscape doctor`: what is there, what is wrong, and what works without it. Programs are scripts."""

import json
import os
from pathlib import Path

import pytest

from flow import doctor
from flow.core import container, launcher
from flow.core.tool import Tool

FAKES = Path(__file__).parents[1] / "fake_tools"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine on which only these programs are installed, and a way to install another."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("HLSCAPE_", "XILINX", "FAKE_"))]:
        monkeypatch.delenv(name)
    for name in ("XILINXD_LICENSE_FILE", "LM_LICENSE_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XILINX_ROOT", str(tmp_path / "Xilinx"))
    container._inspect.cache_clear()
    launcher._TOLD.clear()

    def install(name, says, code=0, where=folder):
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
        path.chmod(0o755)
        return str(path)

    yield install
    container._inspect.cache_clear()


@pytest.fixture
def quick(machine, monkeypatch):
    """The same, and the programs of the flow are stand-ins that answer at once."""
    for variable, says in {
        "G__": "12.2.0", "MAKE": "GNU Make 4.3", "VERILATOR": "Verilator 5.44", "YOSYS": "Yosys 0.70", "IVERILOG": "version 12.0",
        "VVP": "version 12.0", "NEXTPNR_ECP5": "nextpnr-0.11", "ECPPACK": "Version 1.4",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"HLSCAPE_{variable}", machine(f"my-{variable.lower()}", says))
    return machine


def rows(hlscape, code=0, **variables):
    done = hlscape("doctor", "--json", **variables)
    assert done.code == code, done.out
    return {row["tool"]: row for row in json.loads(done.out)["tools"]}


def test_this_machine(hlscape, monkeypatch):
    monkeypatch.delenv("HLSCAPE_LAUNCHER", raising=False)
    there = rows(hlscape)
    assert all(there[name]["ok"] for name in ("g++", "yosys", "verilator", "torch", "hls4ml", "python", "disk", "launcher"))
    assert all(row["version"] for row in there.values() if row["ok"] and row["tool"] not in ("launcher", "licence"))
    names = [
        "make",
        "iverilog",
        "vvp",
        "nextpnr-ecp5",
        "ecppack",
        "vitis-run",
        "vitis_hls",
        "vivado_hls",
        "vivado",
        "docker",
        "srun",
        "bsub",
    ]
    assert set(names) < set(there)


def test_without_vendor_tools(hlscape, quick):
    there = rows(hlscape)
    for name in ("vitis-run", "vitis_hls", "vivado_hls", "vivado"):
        assert there[name]["status"] == "absent"
        assert there[name]["supported"] is None
    done = hlscape("doctor")
    assert done.code == 0
    lines = {line.split()[1]: line for line in done.out.splitlines()[:-1]}
    assert lines["vivado"].split(None, 2)[2] == "without it: everything but vsynth of BACKEND=vitis; resources come from Yosys"
    assert lines["vitis_hls"].startswith("absent ")
    assert "everything but BACKEND=vitis" in lines["vitis_hls"]
    assert "torch 2." in lines["packages"]
    assert "LAUNCHER=docker" in lines["launcher"]
    assert done.out.splitlines()[-1] == "Everything that the default flow needs is there."
    assert max(map(len, done.out.splitlines())) < 170


def test_vendor_tools_and_their_versions(hlscape, quick, tmp_path):
    path = quick("vivado", "Vivado v2022.2 (64-bit)")
    quick("vitis_hls", "Vitis HLS - High-Level Synthesis v2024.2 (64-bit)")
    there = rows(hlscape)
    assert (there["vivado"]["status"], there["vivado"]["version"], there["vivado"]["found"]) == ("ok", "2022.2", path)
    assert (there["vitis_hls"]["status"], there["vitis_hls"]["supported"]) == ("wrong", False)
    assert "2024.2" in there["vitis_hls"]["found"]
    assert "too new, 2024.1 or earlier is needed" in there["vitis_hls"]["found"]


def test_needed_program_is_missing_or_old(hlscape, quick):
    old = quick("old", "Yosys 0.23")
    done = hlscape("doctor", HLSCAPE_YOSYS=old)
    assert done.code == 2
    line = next(line for line in done.out.splitlines() if " yosys" in line)
    assert line.startswith("MISSING")
    assert "0.70 or later is needed" in line
    assert done.out.splitlines()[-1] == "The default flow needs what is missing: yosys."
    assert rows(hlscape, 2, HLSCAPE_YOSYS="/nowhere")["yosys"]["status"] == "MISSING"


def test_icarus_stands_in_for_verilator(hlscape, quick):
    assert rows(hlscape, HLSCAPE_VERILATOR="/nowhere")["verilator"]["status"] == "absent"
    assert rows(hlscape, 2, HLSCAPE_VERILATOR="/nowhere", HLSCAPE_VVP="/nowhere")["verilator"]["status"] == "MISSING"


def test_launcher(hlscape, quick, monkeypatch, tmp_path):
    root = tmp_path / "Xilinx/Vivado/2023.1"
    path = quick("vivado", "Vivado v2023.1 (64-bit)", where=root / "bin")
    monkeypatch.setenv("PATH", str(FAKES), prepend=os.pathsep)
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("FAKE_DOCKER_STATE", str(tmp_path / "state"))
    there = rows(hlscape, HLSCAPE_LAUNCHER="docker")
    assert (there["vivado"]["status"], there["vivado"]["version"], there["vivado"]["found"]) == ("ok", "2023.1", path)
    assert there["launcher"]["found"] == "LAUNCHER=docker"
    assert there["docker"]["version"] == "24.0"
    assert there["srun"]["version"] == "22.05"
    assert there["bsub"]["version"] == "10.1"
    assert "XILINX_ROOT" in there["vitis_hls"]["found"]
    container._inspect.cache_clear()
    done = hlscape("doctor", HLSCAPE_LAUNCHER="docker", FAKE_DOCKER="no-image")
    assert done.code == 0, "the default flow does not need it"
    assert "docker build -t hlscape ." in next(line for line in done.out.splitlines() if " launcher" in line)
    assert "may take a while" in done.err


def test_docker_without_its_engine(hlscape, quick, monkeypatch):
    monkeypatch.setenv("PATH", str(FAKES), prepend=os.pathsep)
    row = rows(hlscape, FAKE_DOCKER="no-daemon")["docker"]
    assert row["status"] == "wrong"
    assert "Is the docker daemon running?" in row["found"]


def test_launcher_that_finds_no_tool(hlscape, quick, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(FAKES), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_BATCH_STATE", str(tmp_path))
    row = rows(hlscape, HLSCAPE_LAUNCHER="srun -q x", FAKE_BATCH="refused")["launcher"]
    assert row["status"] == "wrong"
    assert row["found"].startswith("LAUNCHER=srun -q x; none of the vendor tools was found with it: ")
    assert "Invalid partition" in row["found"]
    assert "does not exist. Set XILINX_ROOT" in rows(hlscape, HLSCAPE_LAUNCHER="docker")["launcher"]["found"]


def test_wrong_launcher_is_said_and_no_more(hlscape, quick):
    row = rows(hlscape, HLSCAPE_LAUNCHER="no-such-launcher -x")["launcher"]
    assert row["status"] == "wrong"
    assert "no-such-launcher was not found on PATH" in row["found"]


def test_licence(hlscape, quick, tmp_path):
    assert rows(hlscape)["licence"]["status"] == "absent"
    assert rows(hlscape, XILINXD_LICENSE_FILE="2100@secret")["licence"]["found"] == "$XILINXD_LICENSE_FILE"
    (tmp_path / ".Xilinx").mkdir()
    (tmp_path / ".Xilinx/Xilinx.lic").write_text("")
    assert rows(hlscape)["licence"]["found"] == str(tmp_path / ".Xilinx/Xilinx.lic")


def test_packages():
    given = ["numpy>=2.0", "numpy<1", "no-such-package>=3", 'no-such-other>=1; extra == "jets"', 'no-linter; extra == "dev"']
    fine, old, absent, optional = doctor.packages(given)
    assert (fine.ok, fine.supported, fine.word) == (True, True, "ok")
    assert (old.word, old.supported) == ("MISSING", False)
    assert "pip install 'numpy<1'" in old.found
    assert (absent.word, absent.found) == ("MISSING", "Install it: pip install 'no-such-package>=3'")
    assert optional.line().endswith("without it: everything but the simulation of jets")


def test_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "SPACE", 10**12)
    row = {row.tool: row for row in doctor.place(tmp_path / "not/yet")}["disk"]
    assert row.word == "MISSING"
    assert "hlscape gc" in row.found


def test_programs_that_hang_or_break(monkeypatch, machine):
    machine("broken", "no number", 1)
    row = doctor.look(Tool("broken", (("broken",),), "Mend it."), True, "nothing")
    assert (row.word, row.supported) == ("MISSING", False)
    assert row.found.endswith("does not tell its version. Mend it.")
    monkeypatch.setenv(launcher.VARIABLE, "docker 'x")
    row = doctor.look(Tool("broken", (("broken",),), "Mend it.", launched=True), False, "all")
    assert row.word == "absent"
