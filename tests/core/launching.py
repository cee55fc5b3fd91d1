"""A machine with vendor tools, Docker and batch systems for tests: the fakes of tests/fake_tools."""

import json
import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from flow.core import container, launcher
from flow.core.tool import Tool, run

FAKES = Path(__file__).parents[1] / "fake_tools"
SYNTHESIZER = """#!/bin/sh
case "$1" in
    -version) echo "synth v2023.2 (64-bit)"; exit ${FAKE_CODE:-0};;
    hang) echo begun; sleep 60; echo over;;
    code) exit 3;;
    licence) echo "ERROR: [Common 17-345] A valid license was not found for feature 'Synthesis'"; exit 1;;
    env) env;;
    *) echo "$0" "$@"; pwd; cat "$1" > made; echo "$2" >> made;;
esac
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Folders of a machine with vendor tools, a store, Docker and batch systems."""
    for name in ("docker", "batch", "elsewhere", "Xilinx/Vivado/2023.2/bin", "Xilinx/Vitis_HLS/2023.2/bin", "Xilinx/Vivado/2022.1/bin"):
        (tmp_path / name).mkdir(parents=True)
    for version in ("2022.1", "2023.2"):
        program = tmp_path / "Xilinx/Vivado" / version / "bin/synth"
        program.write_text(SYNTHESIZER)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(FAKES), prepend=os.pathsep)
    for name, value in {
        "XILINX_ROOT": "Xilinx", "HLSCAPE_STORE": "store", "FAKE_DOCKER_STATE": "docker", "FAKE_BATCH_STATE": "batch", "HOME": "elsewhere"
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(tmp_path / value))
    for name in ("FAKE_DOCKER", "FAKE_BATCH", "XILINXD_LICENSE_FILE", "LM_LICENSE_FILE", launcher.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    container._inspect.cache_clear()
    launcher._TOLD.clear()
    work = tmp_path / "store/tmp/csynth-0123/work/project"
    work.mkdir(parents=True)
    yield tmp_path
    container._inspect.cache_clear()
    launcher._TOLD.clear()


SYNTH = Tool("synth", (("synth",),), "Install it.", ("-version",), r"synth v(\d{4}\.\d)", launched=True)


def go(place, *args, tool=SYNTH, **options):
    return run(tool, args, cwd=place / "store/tmp/csynth-0123/work/project", log=place / "log.txt", **options)


def calls(place):
    path = place / "docker/calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def containers(place):
    return [path.name for path in (place / "docker").iterdir() if "." not in path.name and path.name != "calls"]


def gone(pid):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if "Z (" in Path(f"/proc/{pid}/status").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def option(call, name):
    return [value for word, value in pairwise(call) if word == name]


def begun(folder):
    """Wait for a job and return its pid."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for path in folder.iterdir():
            if path.name.startswith("hlscape-") and "." not in path.name:
                return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError("nothing was started")
