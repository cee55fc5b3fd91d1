"""Launcher docker: what they make of a command, and that nothing outlives a run. Docker is the fake of tests/fake_tools."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from flow.core import container, launcher
from flow.core.errors import ConfigError, LicenceUnavailable, ToolFailed, ToolNotFound, ToolTimeout, ToolVersionMismatch
from flow.core.tool import Tool, kill_all
from tests.core.launching import FAKES, SYNTH, SYNTHESIZER, begun, calls, containers, go, gone, option


def test_docker_command(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    monkeypatch.setenv("XILINXD_LICENSE_FILE", f"2100@licence:{place / 'elsewhere'}")
    data = place / "in, put.txt"
    data.write_text("input\n")
    root, store, work = place / "Xilinx", place / "store", place / "store/tmp/csynth-0123/work/project"
    tool = Tool("synth", (("synth",),), "", env={"A": "b c"}, launched=True)
    inner = launcher.launch([*tool.argv(), str(data), f"-o={place / 'elsewhere'}", "$HOME; exit"], tool.env, work).argv
    name = option(inner, "--name")[0]
    assert name.startswith("hlscape-")
    assert name != option(launcher.launch(tool.argv(), {}, work).argv, "--name")[0]
    assert inner == (
        "docker", "run", "--rm", "--init", "--pull", "never", "--name", name, "--user", f"{os.getuid()}:{os.getgid()}",
        "--mount", f"type=bind,source={root},target={root},readonly",
        "--mount", f"type=bind,source={place / 'elsewhere'},target={place / 'elsewhere'},readonly",
        "--mount", f'type=bind,"source={data}","target={data}",readonly',
        "--mount", f"type=bind,source={store},target={store},readonly",
        "--mount", f"type=bind,source={store / 'tmp/csynth-0123'},target={store / 'tmp/csynth-0123'}",
        "--env", "HOME=/tmp", "--env", f"XILINX_VIVADO={root}/Vivado/2023.2", "--env", f"XILINX_HLS={root}/Vitis_HLS/2023.2",
        "--env", f"PATH={root}/Vivado/2023.2/bin:{root}/Vitis_HLS/2023.2/bin:{container.PATH}",
        "--env", "A=b c", "--env", "XILINXD_LICENSE_FILE", "--workdir", str(work),
        "--entrypoint", f"{root}/Vivado/2023.2/bin/synth", "hlscape", str(data), f"-o={place / 'elsewhere'}", "$HOME; exit",
    )  # fmt: skip


def test_docker_runs_the_tool(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker:mine --network=host --cpus=2")
    monkeypatch.setenv("SECRET", "host")
    (place / "in.txt").write_text("input\n")
    said = go(place, str(place / "in.txt"), "$HOME; *", replay=place / "replay.sh")
    work = place / "store/tmp/csynth-0123/work/project"
    assert said == f"{place}/Xilinx/Vivado/2023.2/bin/synth {place}/in.txt $HOME; *\n{work}\n"
    assert (work / "made").read_text() == "input\n$HOME; *\n"
    inspect, started = calls(place)
    assert inspect[-1] == "mine"
    assert started[started.index("--network=host") :][:2] == ["--network=host", "--cpus=2"]
    assert "SECRET" not in go(place, "env")
    assert containers(place) == []
    (work / "made").unlink()
    subprocess.run(["sh", str(place / "replay.sh")], check=True, capture_output=True)
    assert (work / "made").read_text() == "input\n$HOME; *\n"
    go(place, "env", memory=2**30)
    assert option(calls(place)[-1], "--memory") == [str(2**30)], "from here only the client could be watched"
    assert [c[0] for c in calls(place)].count("image") == 1, "the image is asked for once"


def test_docker_version(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    assert SYNTH.read_version() == "2023.2"
    assert SYNTH.read_version() == "2023.2"
    assert [call[0] for call in calls(place)] == ["image", "run"], "it is asked once"
    monkeypatch.setenv("HLSCAPE_SYNTH", str(place / "Xilinx/Vivado/2022.1/bin/synth"))
    assert SYNTH.argv() == [str(place / "Xilinx/Vivado/2022.1/bin/synth")]
    (place / "Xilinx/Vivado/2022.1/bin/synth").write_text("#!/bin/sh\necho no number\n")
    with pytest.raises(ToolVersionMismatch, match="does not tell its version"):
        SYNTH.read_version()
    (place / "Xilinx/Vivado/2022.1/bin/synth").write_text("#!/bin/sh\necho libtinfo.so.5: cannot open shared object file; exit 127\n")
    with pytest.raises(ToolNotFound, match=r"synth cannot be started as .*LAUNCHER=docker \(code 127\): libtinfo.so.5: .* Install it"):
        SYNTH.read_version()


def test_tool_of_a_foreign_image(place, monkeypatch):
    monkeypatch.setenv("XILINX_ROOT", str(place / "none"))
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    with pytest.raises(
        ToolNotFound, match=r"synth was not found: the folder .*none does not exist\. Set XILINX_ROOT .*LAUNCHER=docker:IMAGE"
    ):
        SYNTH.argv()
    monkeypatch.setenv("XILINX_ROOT", str(place / "Xilinx"))
    with pytest.raises(ToolNotFound, match=r"absent was not found: .*Xilinx has no absent\. Set XILINX_ROOT"):
        Tool("absent", (("absent",),), "", launched=True).argv()
    monkeypatch.setenv(launcher.VARIABLE, "docker:theirs")
    other = Tool("absent", (("absent", "-x"),), "Buy it.", launched=True)
    assert other.argv() == ["absent", "-x"]
    with pytest.raises(ToolNotFound, match=r"absent cannot be started .*executable file not found.*Buy it"):
        other.read_version()
    assert Tool("echo", (("echo",),), "", ("1.5",), launched=True).read_version() == "1.5", "the image has it"


def test_newest_version_and_layouts(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    root = place / "Xilinx"
    for path in ("2025.1/Vitis/bin/synth", "2025.1/Vivado/bin/vivado", "DocNav/tools/bin/synth", "Vivado/2023.2/bin/vivado"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(SYNTHESIZER)
    assert [str(p.relative_to(root)) for p in container.installed("synth", root)] == [
        "2025.1/Vitis/bin/synth", "Vivado/2023.2/bin/synth", "Vivado/2022.1/bin/synth"
    ]  # fmt: skip
    assert SYNTH.argv() == [f"{root}/2025.1/Vitis/bin/synth"]
    assert container.settings(root / "2025.1/Vitis/bin/synth", root) == {
        "XILINX_VIVADO": f"{root}/2025.1/Vivado", "XILINX_VITIS": f"{root}/2025.1/Vitis", "XILINX_HLS": f"{root}/2025.1/Vitis",
        "PATH": f"{root}/2025.1/Vitis/bin:{root}/2025.1/Vivado/bin:{container.PATH}",
    }  # fmt: skip
    monkeypatch.setenv("PATH", str(root / "Vivado/2022.1/bin"), prepend=os.pathsep)
    assert SYNTH.argv() == [f"{root}/Vivado/2022.1/bin/synth"], "the version on PATH is the one that is meant"


def test_licence_file_of_the_home_folder(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    file = place / "elsewhere/.Xilinx/Xilinx.lic"
    file.parent.mkdir()
    file.write_text("")
    argv = launcher.launch(SYNTH.argv(), {}, None).argv
    assert f"XILINXD_LICENSE_FILE={file}" in argv
    assert f"type=bind,source={file},target={file},readonly" in argv
    with pytest.raises(LicenceUnavailable):
        go(place, "licence")


def test_tools_behind_links_and_other_folders_are_mounted(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    (place / "link").symlink_to(place / "Xilinx")
    monkeypatch.setenv("XILINX_ROOT", str(place / "link"))
    mounts = option(launcher.launch(SYNTH.argv(), {}, place / "elsewhere").argv, "--mount")
    assert mounts == [
        f"type=bind,source={place}/link,target={place}/link,readonly",
        f"type=bind,source={place}/Xilinx,target={place}/Xilinx,readonly",
        f"type=bind,source={place}/elsewhere,target={place}/elsewhere",
    ]
    mounts = option(launcher.launch([*SYNTH.argv(), "/", "/tmp", "/usr/bin/env", "/dev/null", "/etc"], {}, None).argv, "--mount")
    assert len(mounts) == 2, "nothing covers a folder of the image's own"


@pytest.mark.parametrize(
    ("mode", "words"),
    [("no-daemon", r"Cannot connect to the Docker daemon.*Start the Docker engine"), ("no-image", r"docker build -t hlscape \.")],
)
def test_docker_does_not_work(place, monkeypatch, mode, words):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    monkeypatch.setenv("FAKE_DOCKER", mode)
    for call in (lambda: go(place, "code"), SYNTH.read_version):
        with pytest.raises(ToolNotFound, match=words):
            call()
    monkeypatch.setenv(launcher.VARIABLE, "docker:theirs")
    with pytest.raises(ToolNotFound, match=words if mode == "no-daemon" else "docker pull theirs"):
        go(place, "code")
    monkeypatch.setenv("FAKE_DOCKER", "")
    with pytest.raises(ToolFailed, match="code 3"):
        go(place, "code")


def test_container_that_does_not_start_is_no_failure_of_the_run(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker --no-such-option")
    with pytest.raises(ToolNotFound, match=r"synth was not started. docker says:\nunknown flag: --no-such-option\nInstall it"):
        go(place, "code")
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    for code in (126, 127):
        (place / "Xilinx/Vivado/2023.2/bin/synth").write_text(f"#!/bin/sh\necho libX11.so.6 is missing; exit {code}\n")
        with pytest.raises(ToolNotFound, match="libX11"):
            go(place, "x")


def test_no_docker(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(ToolNotFound, match=r"docker was not found on PATH\. Install Docker"):
        go(place, "code")


@pytest.mark.parametrize(
    ("words", "message"),
    [("docker run mine", "'run'"), ("docker:mine mine", "'mine'"), ("srun 'x", "No closing quotation")],
)
def test_wrong_words(place, monkeypatch, words, message):
    monkeypatch.setenv(launcher.VARIABLE, words)
    with pytest.raises(ConfigError, match=message):
        go(place, "code")
    with pytest.raises(ConfigError, match=message):
        SYNTH.read_version()


def test_timeout_leaves_no_container(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    pids = []
    thread = threading.Thread(target=lambda: pids.append(begun(place / "docker")))
    thread.start()
    with pytest.raises(ToolTimeout, match="begun"):
        go(place, "hang", timeout=1)
    thread.join()
    assert containers(place) == []
    assert gone(pids[0])
    name = option(calls(place)[1], "--name")[0]
    assert ["rm", "--force", name] in calls(place)


def test_lost_client_leaves_no_container(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    monkeypatch.setenv("FAKE_DOCKER", "lost")
    with pytest.raises(ToolFailed, match="code -9"):
        go(place, "hang")
    assert containers(place) == []


def test_container_that_begins_after_its_client_was_killed(place, monkeypatch):
    """The engine goes on with what it was asked last."""
    record = place / "docker/hlscape-late"
    process = subprocess.Popen(["sleep", "60"], start_new_session=True, text=True)
    late = subprocess.Popen(["sleep", "60"], start_new_session=True)
    thread = threading.Timer(0.7, lambda: record.write_text(str(late.pid)))
    thread.start()
    launcher.Launch(("docker",), stop=container.Container.stop("hlscape-late")).end(process)
    thread.join()
    assert late.wait(10) == -signal.SIGKILL
    assert containers(place) == []


def test_a_finished_container_is_not_removed_again(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    go(place, "env")
    with pytest.raises(ToolFailed):
        go(place, "code")
    assert "rm" not in {call[0] for call in calls(place)}


@pytest.mark.parametrize("words", ["docker", "srun -c 4", "bsub -K -q long"])
def test_kill_all(place, monkeypatch, words):
    monkeypatch.setenv(launcher.VARIABLE, words)
    errors = []

    def work():
        with pytest.raises(ToolFailed) as caught:
            go(place, "hang")
        errors.append(str(caught.value))

    if words != "docker":
        monkeypatch.setenv("PATH", str(place / "Xilinx/Vivado/2023.2/bin"), prepend=os.pathsep)
    thread = threading.Thread(target=work)
    thread.start()
    pid = begun(place / ("docker" if words == "docker" else "batch"))
    kill_all()
    thread.join(60)
    assert gone(pid)
    assert len(errors) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_flow_leaves_no_container(place, monkeypatch, number):
    """The signal comes to a process of its own, which unwinds as the command line does."""
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    code = (
        "import signal, sys\nfrom flow.terminal import stop_on_signal\n"
        f"signal.signal({int(number)}, stop_on_signal)\n"
        "from pathlib import Path\nfrom tests.core.launching import SYNTH, go\ngo(Path(sys.argv[1]), 'hang')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(place)], stderr=subprocess.PIPE, text=True, cwd=FAKES.parents[1])
    pid = begun(place / "docker")
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in text
    assert containers(place) == [], text
    assert gone(pid)


def test_slow_version(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    monkeypatch.setattr(launcher, "WAIT", 0.5)
    with pytest.raises(ToolNotFound, match=r"did not tell its version within .*LAUNCHER=docker"):
        Tool("synth", (("synth",),), "", ("hang",), launched=True).read_version()
    assert containers(place) == []


def test_other_programs_are_not_launched(place, monkeypatch):
    monkeypatch.setenv(launcher.VARIABLE, "docker")
    tool = Tool("echo", (("echo",),), "", ("1.5",))
    assert tool.read_version() == "1.5"
    assert go(place, "here", tool=tool) == "here\n"
    assert calls(place) == []
