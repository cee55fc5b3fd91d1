"""Launchers srun and bsub, the fakes of tests/fake_tools: what they make of a command, and that no job outlives a run."""

import os
import threading
import time

import pytest

from flow.core import launcher
from flow.core.errors import ToolFailed, ToolNotFound, ToolTimeout
from flow.core.tool import Tool
from tests.core.launching import SYNTH, begun, go, gone


def test_batch_command(place, monkeypatch):
    monkeypatch.setenv("PATH", str(place / "Xilinx/Vivado/2023.2/bin"), prepend=os.pathsep)
    monkeypatch.setenv(launcher.VARIABLE, "srun -c 4 --mem 32G")
    started = launcher.launch([*SYNTH.argv(), "x"], {}, place)
    name = started.argv[2]
    assert started.argv == ("srun", "-J", name, "-c", "4", "--mem", "32G", f"{place}/Xilinx/Vivado/2023.2/bin/synth", "x")
    assert (started.grace, started.stop) == (launcher.GRACE, ("scancel", "--name", name))
    monkeypatch.setenv(launcher.VARIABLE, "bsub -K -J mine")
    started = launcher.launch(["x"], {}, place)
    assert (started.argv, started.stop) == (("bsub", "-K", "-J", "mine", "x"), ()), "a job that has a name keeps it"
    monkeypatch.setenv(launcher.VARIABLE, "env A=b")
    assert launcher.launch(["x"], {}, place).argv == ("env", "A=b", "x")
    monkeypatch.setenv(launcher.VARIABLE, "no-such-launcher -x")
    with pytest.raises(ToolNotFound, match="HLSCAPE_LAUNCHER=no-such-launcher -x"):
        go(place, "x")


@pytest.mark.parametrize("words", ["srun -c 4", "bsub -K -q long"])
def test_batch_runs_the_tool(place, monkeypatch, words):
    monkeypatch.setenv(launcher.VARIABLE, words)
    monkeypatch.setenv("PATH", str(place / "Xilinx/Vivado/2023.2/bin"), prepend=os.pathsep)
    assert SYNTH.read_version() == "2023.2"
    assert "A=b c" in go(place, "env", tool=Tool("synth", (("synth",),), "", env={"A": "b c"}, launched=True))
    with pytest.raises(ToolFailed, match="code 3"):
        go(place, "code")
    monkeypatch.setenv("FAKE_BATCH", "refused")
    launcher._TOLD.clear()
    with pytest.raises(ToolNotFound, match=r"Invalid partition name.*Install it"):
        SYNTH.read_version()


def test_tool_that_only_the_node_has(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "srun")
    other = Tool("absent", (("absent", "-x"), ("other",)), "Load its module.", launched=True)
    assert other.argv() == ["absent", "-x"]
    with pytest.raises(ToolNotFound, match=r"absent cannot be started .*No such file or directory.*Load its module"):
        other.read_version()


def test_batch_job_gets_a_signal_before_its_client_is_killed(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "srun")
    monkeypatch.setenv("PATH", str(place / "Xilinx/Vivado/2023.2/bin"), prepend=os.pathsep)
    monkeypatch.setattr(launcher, "GRACE", 100.0)
    started = time.monotonic()
    with pytest.raises(ToolTimeout):
        go(place, "hang", timeout=3)
    assert time.monotonic() - started < 50, "the client ended as soon as its job did"
    assert not list((place / "batch").glob("hlscape-*"))


def test_deaf_client_is_killed_and_its_job_cancelled(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "srun")
    monkeypatch.setenv("FAKE_BATCH", "stubborn")
    monkeypatch.setattr(launcher, "GRACE", 0.3)
    monkeypatch.setenv("PATH", str(place / "Xilinx/Vivado/2023.2/bin"), prepend=os.pathsep)
    pids = []
    thread = threading.Thread(target=lambda: pids.append(begun(place / "batch")))
    thread.start()
    with pytest.raises(ToolTimeout):
        go(place, "hang", timeout=1)
    thread.join()
    assert gone(pids[0])
    assert "cancelled hlscape-" in (place / "batch/calls").read_text()
