"""Ctrl-C at any moment: exit code 2, no child, lock or half-written result is left, and the same command goes on."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests import interrupts
from tests.cli.conftest import whole

ROOT = Path(__file__).resolve().parents[2]
DELAY = {"data": 0.03, "pretrain": 1.5, "train": 0.3, "export": 1.5, "convert": 0.2}  # seconds, within the stage


def start(tiny: Path, store: Path, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HLSCAPE_STORE": str(store), "OMP_NUM_THREADS": "1", **variables}
    argv = [sys.executable, "-m", "flow", "run", str(tiny), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(argv, cwd=tiny.parent, env=environment, text=True, preexec_fn=interrupts.hear, **pipes)


def children(store: Path) -> dict[int, str]:
    """Return the programs at work in a store: command line by process id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words, folder = (process / "cmdline").read_bytes(), os.readlink(process / "cwd")
        except OSError:
            continue
        if folder.startswith(str(store)):
            found[int(process.name)] = words.replace(b"\0", b" ").decode()
    return found


def wait_for(condition, process: "subprocess.Popen[str]") -> None:
    for _ in range(3000):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise TimeoutError


def stopped(process: "subprocess.Popen[str]", store: Path) -> None:
    """Interrupt, and check that nothing is left behind."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=180)  # a busy machine takes its time
    assert process.returncode == 2, err
    assert "Stopped. Finished stages are kept" in err
    assert "Traceback" not in err
    assert out == ""
    deadline = time.monotonic() + 2
    while children(store) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children(store) == {}
    whole(store)


@pytest.mark.parametrize("stage", DELAY)
def test_any_moment_of_a_stage(hlscape, tiny, copy_without, gxx, stage):
    store = copy_without(stage)
    process = start(tiny, store, "--until", stage, HLSCAPE_G__=gxx)
    wait_for(lambda: list((store / "locks").glob(f"{stage}-*")), process)
    time.sleep(random.uniform(0, DELAY[stage]))
    stopped(process, store)
    assert not list((store / stage).glob("*"))
    assert hlscape("run", tiny, "--until", stage, store=store, HLSCAPE_G__=gxx).code == 0
    whole(store)


@pytest.mark.parametrize(("stage", "program"), [("csim", "cc1plus"), ("synth", "yosys")])
def test_programs_are_killed(hlscape, tiny, copy_without, gxx, stage, program):
    store = copy_without(stage)
    process = start(tiny, store, "--until", stage, HLSCAPE_G__=gxx)
    wait_for(lambda: any(program in line for line in children(store).values()), process)
    # Only the program itself: a child between fork and exec, stopped, would stop its parent (vfork), Ctrl-C or not.
    frozen = [pid for pid, line in children(store).items() if program in line]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)  # it can no longer end by itself
    try:
        stopped(process, store)
    finally:
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if stage == "csim":  # the other takes too long to do it all again
        assert hlscape("run", tiny, "--until", stage, store=store, HLSCAPE_G__=gxx).code == 0
        whole(store)


def test_before_the_first_stage(tiny, tmp_path):
    process = start(tiny, tmp_path / "store", "--until", "data")
    time.sleep(random.uniform(0.4, 1.5))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=180)  # a busy machine takes its time
    assert (process.returncode, out) == (2, "")
    assert "Traceback" not in err


def test_an_interrupt_in_generated_code(tmp_path):
    """Python would end such a process with SIGINT whatever its exit code."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom flow import cli, commands\n"
        "commands.command_doctor = lambda args: exec('raise KeyboardInterrupt')\nsys.exit(cli.main(['doctor']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Stopped" in done.stderr


def test_an_interrupt_during_an_import_waits_for_its_end(tmp_path):
    """An exception that passes through C++ there would end the process."""
    (tmp_path / "slow.py").write_text("import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.2)\nprint('whole')\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import importlib, sys, time\nfrom flow import cli, commands\n"
        "commands.command_doctor = lambda args: [importlib.import_module('slow'), time.sleep(20)]\nsys.exit(cli.main(['doctor']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False, timeout=15)
    assert (done.returncode, done.stdout) == (2, "whole\n"), done.stderr
    assert "Stopped" in done.stderr


def test_a_library_that_eats_the_interrupt(hlscape, tiny, monkeypatch):
    """`torch.export` reports a KeyboardInterrupt as an error of its own; the run must end all the same."""
    from flow import stages, terminal

    def run(job):
        try:
            terminal.stop_on_signal(signal.SIGINT, None)
        except KeyboardInterrupt:
            raise RuntimeError("export failed") from None

    load = stages.load_stage
    monkeypatch.setattr(stages, "load_stage", lambda name: replace(load(name), run=run) if name == "data" else load(name))
    monkeypatch.setattr(terminal, "_SIGNALS", [])
    done = hlscape("run", tiny, "--until", "data")
    assert done.code == 2
    assert "Stopped" in done.err
