"""Programs: found, checked, logged, killed. The fakes are shell and Python scripts."""

import os
import subprocess
import sys
import threading
import time

import pytest

from flow.core.errors import LicenceUnavailable, ToolFailed, ToolNotFound, ToolOutOfMemory, ToolTimeout, ToolVersionMismatch
from flow.core.tool import GXX, LICENCE, YOSYS, OneOf, Tool, run


@pytest.fixture
def script(tmp_path):
    def write(text, name="fake", shebang=f"#!{sys.executable}"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{shebang}\n{text}\n")
        path.chmod(0o755)
        return path

    return write


def tool(path, **fields):
    return Tool("fake", ((str(path),),), "Install it with `pip install fake`.", **fields)


def go(tool, tmp_path, *args, **options):
    return run(tool, args, cwd=tmp_path, log=tmp_path / "log.txt", **options)


def test_output_is_returned_and_logged_line_by_line(script, tmp_path):
    path = script(
        "import sys, time\nprint('one', flush=True)\ntime.sleep(0.6)\n"
        "print('two', file=sys.stderr, flush=True)\nsys.stdout.buffer.write(b'\\xff')"
    )
    seen = []

    def look():
        time.sleep(0.4)
        seen.append((tmp_path / "log.txt").read_text())

    thread = threading.Thread(target=look)
    thread.start()
    assert go(tool(path), tmp_path) == "one\ntwo\n\ufffd"
    thread.join()
    assert seen == ["one\n"]
    go(tool(script("print(3)")), tmp_path)
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n\ufffd3\n"


def test_arguments_folder_environment_and_no_shell(script, tmp_path):
    path = script("import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['FAKE'], repr(sys.stdin.read()))")
    words = go(tool(path, env={"FAKE": "a b"}), tmp_path, "$HOME; exit 1", "*", "")
    assert words == f"['$HOME; exit 1', '*', ''] {tmp_path} a b ''\n"


def test_failure_has_the_last_lines(script, tmp_path):
    path = script("import sys\nfor i in range(50): print('line', i)\nsys.exit(3)")
    with pytest.raises(ToolFailed) as caught:
        go(tool(path), tmp_path)
    assert f"fake ended with code 3 in {tmp_path.name}/" in str(caught.value)
    assert str(caught.value).endswith("line 48\nline 49")
    assert "line 37\n" not in str(caught.value)
    with pytest.raises(ToolFailed, match=r"code -11(.|\n)*it printed nothing"):
        go(tool(script("import os; os.kill(os.getpid(), 11)")), tmp_path)


def test_timeout_kills_the_whole_tree(script, tmp_path):
    path = script(
        "import subprocess, sys, time\nprint('begun', flush=True)\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\nprint(p.pid, flush=True)\ntime.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(ToolTimeout, match=r"limit of 1 s(.|\n)*begun") as caught:
        go(tool(path), tmp_path, timeout=1)
    assert time.monotonic() - started < 10
    grandchild = int(str(caught.value).splitlines()[-1])
    until = time.monotonic() + 5
    while os.path.exists(f"/proc/{grandchild}") and "Z (" not in open(f"/proc/{grandchild}/status").read():
        assert time.monotonic() < until, "the grandchild lives on"
        time.sleep(0.01)


def test_nothing_of_a_program_outlives_it(script, tmp_path):
    path = script(
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], stdout=-3, stderr=-3)\nprint(p.pid)"
    )
    pid = int(go(tool(path), tmp_path))
    time.sleep(0.1)
    assert not os.path.exists(f"/proc/{pid}") or "Z (" in open(f"/proc/{pid}/status").read()


@pytest.mark.parametrize(
    "words",
    [
        "ERROR: [Common 17-345] A valid license was not found: license checkout failed",
        "Failed to get the licence for Vivado",
        "LICENSE is not available",
    ],
)
def test_licence(script, tmp_path, words):
    with pytest.raises(LicenceUnavailable, match="no licence"):
        go(tool(script(f"print({words!r}); exit(1)")), tmp_path)
    assert words in go(tool(script(f"print({words!r})")), tmp_path), "what a program says when it succeeds does not matter"


def test_failure_that_only_mentions_its_licence(script, tmp_path):
    with pytest.raises(ToolFailed):
        go(tool(script("print('licensed under ISC'); exit(1)")), tmp_path)


def test_override(script, tmp_path, monkeypatch):
    first, second = script("print('first')"), script("import sys; print('second', sys.argv[1:])", "second")
    assert go(tool(first), tmp_path) == "first\n"
    monkeypatch.setenv("HLSCAPE_FAKE", f"{second} -m x")
    assert go(tool(first), tmp_path, "y") == "second ['-m', 'x', 'y']\n"
    monkeypatch.setenv("HLSCAPE_FAKE", str(tmp_path / "nothing"))
    with pytest.raises(ToolNotFound, match=r"HLSCAPE_FAKE=.*nothing.*pip install fake"):
        go(tool(first), tmp_path)
    monkeypatch.setenv("HLSCAPE_G__", str(first))
    assert GXX.argv() == [str(first)]


def test_first_command_that_exists(script, tmp_path, monkeypatch):
    path = script("print('2.0')", "fallback")
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
    found = Tool("fake", (("no-such-program",), (), ("fallback", "-x")), "hint")
    assert found.argv() == [str(path), "-x"]
    with pytest.raises(ToolNotFound, match=r"fake was not found \(looked at PATH\)\. hint Or set HLSCAPE_FAKE"):
        Tool("fake", (("no-such-program",),), "hint").argv()


def test_version(script):
    path = script("import sys; assert sys.argv[1:] == ['-V']; print('Fake 1.12.3 (c) 2020.1', file=sys.stderr)")
    options = {"version_args": ("-V",), "version": r"Fake (\d+\.\d+)"}
    assert tool(path, **options, minimum=(1, 12)).read_version() == "1.12"
    assert tool(path, **options, minimum=(1, 9)).read_version() == "1.12", "numbers, not text, are compared"
    with pytest.raises(ToolVersionMismatch, match=r"fake 1\.12 at .* too old, 1\.13 or later is needed\. Install it"):
        tool(path, **options, minimum=(1, 13)).read_version()


def test_unreadable_version(script, monkeypatch):
    with pytest.raises(ToolVersionMismatch, match=r"does not tell its version\. Install it"):
        tool(script("print('no number')")).read_version()
    with pytest.raises(ToolVersionMismatch, match=r"does not tell its version: .*Exec format"):
        tool(script("", "broken", shebang="\x00")).read_version()
    assert tool(script("import sys; sys.stdout.buffer.write(b'\\xff 1.2')")).read_version() == "1.2"

    def hang(*args, **kwargs):
        raise subprocess.TimeoutExpired("fake", kwargs["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ToolVersionMismatch, match="timed out"):
        tool(sys.executable).read_version()


def test_tools_of_the_flow():
    assert GXX.read_version()
    assert tuple(map(int, YOSYS.read_version().split("."))) >= (0, 70)


def test_replay(script, tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = script("import os, sys; open('made', 'a').write(f'{sys.argv[1:]} {os.environ[\"FAKE\"]}\\n')", "it's")
    for argument in ("$HOME 'x'", "second"):
        run(tool(path, env={"FAKE": "a b"}), [argument], cwd=folder, log=tmp_path / "log", replay=tmp_path / "replay.sh")
    expected = (folder / "made").read_text()
    assert expected.count("\n") == 2
    (folder / "made").unlink()
    subprocess.run(["sh", str(tmp_path / "replay.sh")], cwd=tmp_path, check=True)
    assert (folder / "made").read_text() == expected


def test_memory_limit_kills_the_whole_tree(script, tmp_path):
    path = script(
        "import subprocess, sys, time\nprint('begun', flush=True)\n"
        "p = subprocess.Popen([sys.executable, '-c', 'x = bytearray(300 << 20); import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True)\ntime.sleep(60)"
    )
    with pytest.raises(ToolOutOfMemory, match=r"limit of 0\.0977 GiB(.|\n)*begun") as caught:
        go(tool(path), tmp_path, memory=100 << 20, timeout=50)
    gone(int(str(caught.value).splitlines()[-1]))


def gone(pid):
    until = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}") and "Z (" not in open(f"/proc/{pid}/status").read():
        assert time.monotonic() < until, "it lives on"
        time.sleep(0.01)


def test_a_child_in_a_session_of_its_own_is_killed_too(script, tmp_path):
    path = script(
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "print(p.pid, flush=True)\ntime.sleep(60)"
    )
    with pytest.raises(ToolTimeout) as caught:
        go(tool(path), tmp_path, timeout=1)
    gone(int(str(caught.value).splitlines()[-1]))


def test_a_child_that_holds_the_output_does_not_hold_the_run(script, tmp_path):
    path = script(
        "import subprocess, sys\nprint('done', flush=True)\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    started = time.monotonic()
    assert go(tool(path), tmp_path) == "done\n"
    assert time.monotonic() - started < 10


def test_a_program_is_watched_also_while_it_is_silent(script, tmp_path):
    seen = []
    go(tool(script("import time\nprint('one')\ntime.sleep(2.5)")), tmp_path, watch=lambda line, used: seen.append((line, used)))
    assert ("one\n" in [line for line, _ in seen]) and seen[0][0] in ("", "one\n")
    assert any(line == "" and used > 1 << 20 for line, used in seen)


@pytest.mark.parametrize(
    "words",
    [
        "WARNING: [Common 17-348] Failed to get the license for feature 'Synthesis' and/or device 'xcku060'",
        "ERROR: [Common 17-345] A valid license was not found for feature 'Synthesis' and/or device 'xczu9eg'.",
        "FLEXnet Licensing error:-5,357",
        "FlexNet Licensing error:-15,10032.  System Error: 115",
        "Cannot connect to license server system.",
        "Licensed number of users already reached.",
        "@E [HLS-72] License checkout failed.",
        "Failed to acquire license for HLS",
    ],
)
def test_licence_messages_of_vendors(words):
    assert LICENCE.search(words)


@pytest.mark.parametrize("words", ["Attempting to get a license for feature 'Synthesis'", "Got license for feature 'Synthesis'", "LICENSE"])
def test_no_licence_messages(words):
    assert not LICENCE.search(words)


def test_the_first_program_that_is_there_in_a_version_that_works(script, monkeypatch):
    for name, version in (("new", "3.0"), ("middle", "2.5"), ("old", "1.5")):
        script(f"print('v{version}')", name)
    programs = (
        Tool("new", (("new",),), "Get new.", minimum=(4,)),
        Tool("middle", (("middle",),), "Get middle.", minimum=(1,), maximum=(2, 4)),
        Tool("old", (("old",),), "Get old.", maximum=(1,)),
    )
    either = OneOf("any", (), "Get one.", programs=programs)
    with pytest.raises(ToolNotFound, match=r"any: none of new, middle, old was found on PATH\. Get one\..*HLSCAPE_NEW, HLSCAPE_MIDDLE"):
        either.argv()
    path = script("", "nothing").parent
    monkeypatch.setenv("PATH", str(path), prepend=os.pathsep)
    assert either.read_version() == "old 1.5"
    assert either.argv() == [str(path / "old")]
    with pytest.raises(ToolVersionMismatch, match=r"new 3\.0 .* too old, 4 or later.*Get new.* middle 2\.5 .* too new, 2\.4 or earlier"):
        OneOf("any", (), "Get one.", programs=programs[:2]).read_version()
