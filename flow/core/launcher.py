"""Where the vendor tools run: on this machine, in a container, or through a batch system.

``HLSCAPE_LAUNCHER`` (``make LAUNCHER=...``) holds words for the tools with `flow.core.tool.Tool.launched`, and for no other program:

- nothing: they run here;
- ``docker`` or ``docker:IMAGE``, and options of ``docker run`` if the site needs some: in a container, see `flow.core.container`;
- anything else, such as ``srun -c 4 --mem 32G`` or ``bsub -K -q long``: these words are put before the program.

Killing a client leaves the container or the batch job alive, so each has a name by which it is removed.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flow.core.container import Container
from flow.core.errors import ConfigError, ToolNotFound
from flow.core.process import kill_tree

if TYPE_CHECKING:
    from flow.core.tool import Tool

VARIABLE = "HLSCAPE_LAUNCHER"
GRACE = 10.0  # seconds; a client passes SIGTERM on to its job, SIGKILL it cannot
WAIT = 3600.0  # seconds that a program may need to tell its version, because it may have to queue for it
STOP = 30.0  # seconds; of a command that removes a container or a job
NOT_STARTED = (125, 126, 127)  # of `docker run`: its own error; the program cannot be started; it, or a library of it, is not there
CANCEL = {"srun": ("scancel", "--name"), "bsub": ("bkill", "-J")}  # both clients call the name of a job -J

_TOLD: dict[tuple[str, ...], str] = {}  # what programs printed for their version: in a batch system each question is a job


@dataclass(frozen=True)
class Launch:
    """How one program is started and how it is ended.

    Attributes:
        argv: the whole command.
        grace: seconds between SIGTERM and SIGKILL; 0: SIGKILL at once.
        stop: command that removes what outlives a killed client.
    """

    argv: tuple[str, ...]
    grace: float = 0.0
    stop: tuple[str, ...] = ()

    def refused(self, code: int) -> bool:
        """Tell whether an exit code means that the program was not started in its container, so that it says nothing about the run."""
        return bool(self.argv) and self.argv[0] == "docker" and code in NOT_STARTED

    def end(self, process: "subprocess.Popen[str]") -> None:
        """Kill a process with its children, and what it left elsewhere. May be called again, and when it ended by itself."""
        alone = process.poll() is not None and process.returncode >= 0
        try:
            if self.grace and process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                until = time.monotonic() + self.grace
                while process.poll() is None and time.monotonic() < until:
                    time.sleep(0.05)
        finally:  # also when a second Ctrl-C ends the wait
            kill_tree(process)
            if self.stop and not alone:
                self._remove()

    def _remove(self) -> None:
        for _ in range(3):  # what the client asked for last may only now begin to exist
            try:
                done = subprocess.run(
                    self.stop, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=STOP, check=False
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired):
                return
            if done.returncode == 0 and "no such" not in done.stderr.lower():
                return
            time.sleep(0.5)


def words() -> list[str]:
    """Return the words of ``HLSCAPE_LAUNCHER``.

    Raises:
        ConfigError: an open quotation mark.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{VARIABLE}={text} cannot be split into words: {error}. Close the quotation mark.") from None


def container() -> Container | None:
    """Return the container that the words ask for.

    Raises:
        ConfigError: words that are no options of ``docker run``.
    """
    launcher = words()
    kind, _, image = launcher[0].partition(":") if launcher else ("", "", "")
    if kind != "docker":
        return None
    if launcher[1:] and not launcher[1].startswith("-"):
        raise ConfigError(
            f"{VARIABLE}={shlex.join(launcher)}: after docker or docker:IMAGE only options of `docker run` may stand, such as "
            f"--network=host, not '{launcher[1]}'. The rest of the command is made by the flow."
        )
    return Container(image, tuple(launcher[1:]))


def find(name: str, commands: Sequence[Sequence[str]]) -> list[str] | None:
    """Find a launched tool where it will run.

    Args:
        name: for messages.
        commands: argv prefixes to try in order.

    Returns:
        The argv prefix, or None: no launcher is set, so it is to be found on this machine.

    Raises:
        ToolNotFound: it is not installed there.
    """
    if inside := container():
        return inside.find(name, commands)
    if not words():
        return None
    for command in commands:
        if command and (path := shutil.which(command[0])):
            return [path, *command[1:]]
    return list(commands[0])  # the machine that runs it may have what this one has not


def launch(command: Sequence[str], env: Mapping[str, str], cwd: Path | None, memory: int | None = None) -> Launch:
    """Put the launcher before a command.

    Args:
        command: program, as `find` gave it, and arguments.
        env: variables to set for it.
        cwd: its working folder; None: any.
        memory: bytes that a container may use, because what is in it cannot be watched from here; None: any.

    Raises:
        ToolNotFound: the launcher, the container engine or the image is missing.
    """
    name = f"hlscape-{uuid.uuid4().hex[:12]}"
    if inside := container():
        return Launch(inside.argv(command, env, cwd, name, memory), stop=inside.stop(name))
    first, *rest = words() or [""]
    if not first:
        return Launch(tuple(command))
    if not shutil.which(first):
        raise ToolNotFound(f"{first} was not found on PATH. Correct or unset {VARIABLE}={shlex.join([first, *rest])}.")
    cancel = CANCEL.get(Path(first).name)
    if cancel is None or any(word.startswith(("-J", "--job-name")) for word in rest):
        return Launch((first, *rest, *command), GRACE)
    return Launch((first, "-J", name, *rest, *command), GRACE, (*cancel, name))


def tell_version(tool: "Tool", command: Sequence[str]) -> str:
    """Run a tool with the launcher for its version.

    Args:
        tool: it says what a version looks like, and how the tool is installed.
        command: program, as `find` gave it, and arguments.

    Returns:
        What it printed.

    Raises:
        ToolNotFound: the launcher, the container engine, the image or the tool is missing, or it ended without a version.
    """
    key = (*words(), "", *command)
    if key in _TOLD:
        return _TOLD[key]
    started = launch(command, tool.env, None)
    process = subprocess.Popen(
        started.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True, env={**os.environ, **tool.env},
    )  # fmt: skip
    try:
        text, _ = process.communicate(timeout=WAIT)
    except subprocess.TimeoutExpired:
        raise ToolNotFound(f"{tool.name} did not tell its version within {WAIT:.0f} s with {VARIABLE}={shlex.join(words())}.") from None
    finally:
        started.end(process)
    if re.search(tool.version, text):
        _TOLD[key] = text
    elif process.returncode != 0:
        last = (text.strip().splitlines() or ["it printed nothing"])[-1]
        where = f"{command[0]} with {VARIABLE}={shlex.join(words())}"
        raise ToolNotFound(f"{tool.name} cannot be started as {where} (code {process.returncode}): {last}. {tool.hint}")
    return text
