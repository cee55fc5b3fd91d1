"""Vendor tools of this machine, run by Docker in an image that has the libraries they need.

The folder of the tools (``XILINX_ROOT``, or ``/tools/Xilinx``) is mounted read-only at its own path, as is everything that a command names;
the working folder is mounted for writing. What ``settings64.sh`` would do is done by variables, so no text of a user reaches a shell.
"""

import csv
import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flow.core.errors import ToolNotFound

IMAGE = "hlscape"  # what `docker build -t hlscape .` makes of the Dockerfile
ROOT = "/tools/Xilinx"
VERSION = re.compile(r"\d{4}\.\d+(\.\d+)?")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What settings64.sh sets, and the folders it may be: Vitis HLS is a part of Vitis from 2024.2 on.
FOLDERS = {"XILINX_VIVADO": ("Vivado",), "XILINX_VITIS": ("Vitis",), "XILINX_HLS": ("Vitis_HLS", "Vivado_HLS", "Vitis")}
LICENCES = ("XILINXD_LICENSE_FILE", "LM_LICENSE_FILE")
OWN = frozenset({"bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr"})  # the image's own folders are never covered


def xilinx_root() -> Path:
    """Return where the vendor tools are installed."""
    return Path(os.environ.get("XILINX_ROOT") or ROOT).absolute()


def version_of(path: Path) -> tuple[int, ...]:
    """Return the version in a path such as ``Vivado/2023.2/bin/vivado`` or ``2025.1/Vivado/bin/vivado``; () if there is none."""
    found = [part for part in path.parts if VERSION.fullmatch(part)]
    return tuple(map(int, found[-1].split("."))) if found else ()


def installed(program: str, root: Path) -> list[Path]:
    """Return where a program is below the folder of the vendor tools, the newest version first."""
    paths = [path for path in sorted(root.glob(f"*/*/bin/{program}")) if path.is_file() and version_of(path.relative_to(root))]
    return sorted(paths, key=lambda path: version_of(path.relative_to(root)), reverse=True)


def settings(program: Path, root: Path) -> dict[str, str]:
    """Return the variables that ``settings64.sh`` of the program's version would set, as far as batch runs need them.

    Args:
        program: below `root`, as `installed` finds it.
        root: the folder of the vendor tools.
    """
    first, second = program.relative_to(root).parts[:2]
    flat = bool(VERSION.fullmatch(first))  # 2025.1/Vivado; before: Vivado/2023.2
    folder = {name: root / (Path(first, name) if flat else Path(name, second)) for names in FOLDERS.values() for name in names}
    variables = {key: next((str(folder[n]) for n in names if folder[n].is_dir()), "") for key, names in FOLDERS.items()}
    bins = dict.fromkeys([str(program.parent), *(f"{value}/bin" for value in variables.values() if value)])
    return {key: value for key, value in variables.items() if value} | {"PATH": ":".join([*bins, PATH])}


@dataclass(frozen=True)
class Container:
    """What the launcher ``docker[:IMAGE] [options]`` asks for.

    Attributes:
        image: name of the image; empty: the project's own.
        options: of ``docker run``, for example ``--network=host`` or ``--mac-address=...`` for a licence.
    """

    image: str = ""
    options: tuple[str, ...] = ()

    def find(self, name: str, commands: Sequence[Sequence[str]]) -> list[str]:
        """Find a tool below the folder of the vendor tools, or take its word for it that a foreign image has it.

        Raises:
            ToolNotFound: with what to set.
        """
        root = xilinx_root()
        for command in commands:
            if command and (path := shutil.which(command[0])) and Path(path).absolute().is_relative_to(root):
                return [str(Path(path).absolute()), *command[1:]]
        for command in commands:
            if command and "/" not in command[0] and (paths := installed(command[0], root)):
                return [str(paths[0]), *command[1:]]
        if self.image:
            return list(commands[0])
        there = f"{root} has no {' or '.join(c[0] for c in commands)}" if root.is_dir() else f"the folder {root} does not exist"
        raise ToolNotFound(
            f"{name} was not found: {there}. Set XILINX_ROOT to the folder with Vivado/<version>/bin on this machine, which is mounted "
            "into the container, or name an image that has the tool: LAUNCHER=docker:IMAGE."
        )

    def argv(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path | None, name: str, memory: int | None = None
    ) -> tuple[str, ...]:  # fmt: skip
        """Return the ``docker run`` for a command.

        Args:
            command: as `find` gave it, and arguments.
            env: variables to set for it.
            cwd: its working folder; None: a folder of the container's own.
            name: of the container.
            memory: bytes that it may use; None: any.

        Raises:
            ToolNotFound: Docker, its engine or the image is missing.
        """
        image, root = self.image or IMAGE, xilinx_root()
        _check(image)
        program = Path(command[0])
        variables = {"HOME": "/tmp"}  # noqa: S108 - the container's own; the user has no home there, and Vivado writes into it
        mounts: dict[Path, bool] = {}  # whether it can be written
        if program.is_relative_to(root):
            variables |= settings(program, root)
            mounts |= dict.fromkeys((root, root.resolve(), program.resolve().parent.parent), False)
        licence = list(_licence(variables))
        mounts |= dict.fromkeys([*licence, *_named(command)], False)
        if cwd is not None:
            mounts |= _work(cwd.absolute())
        options = [word for path, write in _outermost(mounts).items() for word in ("--mount", _mount(path, write))]
        options += [word for key, value in {**variables, **env}.items() for word in ("--env", f"{key}={value}")]
        options += [word for key in LICENCES if key in os.environ for word in ("--env", key)]  # the value stays out of logs
        options += [] if memory is None else ["--memory", str(memory)]
        return (
            "docker", "run", "--rm", "--init", "--pull", "never", "--name", name, "--user", f"{os.getuid()}:{os.getgid()}",
            *options, "--workdir", str(cwd.absolute()) if cwd else "/tmp",  # noqa: S108
            *self.options, "--entrypoint", command[0], image, *command[1:],
        )  # fmt: skip

    @staticmethod
    def stop(name: str) -> tuple[str, ...]:
        """Return the command that kills a container, in whatever state it is, and removes it."""
        return ("docker", "rm", "--force", name)


def _check(image: str) -> None:
    docker = shutil.which("docker")
    if docker is None:
        raise ToolNotFound(
            "docker was not found on PATH. Install Docker, or leave LAUNCHER (HLSCAPE_LAUNCHER) empty to run the tools here."
        )
    _inspect(docker, image)


@cache
def _inspect(docker: str, image: str) -> None:
    """Ask for an image; a positive answer is remembered, an error is not."""
    try:
        done = subprocess.run(
            [docker, "image", "inspect", "--format", "{{.Id}}", image],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolNotFound(f"docker at {docker} does not work: {error}. Start the Docker engine.") from None
    if done.returncode == 0:
        return
    why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if "no such image" in why.lower():
        get = "Build it in the project's folder: docker build -t hlscape ." if image == IMAGE else f"Get it: docker pull {image}"
        raise ToolNotFound(f"there is no image '{image}' on this machine. {get}")
    raise ToolNotFound(f"docker cannot be used: {why}. Start the Docker engine, and make sure that you may use it (group docker).")


def _licence(variables: dict[str, str]) -> Iterator[Path]:
    """Yield licence files; the one in the home folder, which the tools would find by themselves, is named to them."""
    home = Path("~/.Xilinx/Xilinx.lic").expanduser()
    if not any(os.environ.get(key) for key in LICENCES) and home.is_file():
        variables[LICENCES[0]] = str(home)
        yield home
    for key in LICENCES:
        yield from (Path(part).absolute() for part in os.environ.get(key, "").split(":") if part.startswith("/") and Path(part).exists())


def _named(command: Sequence[str]) -> Iterator[Path]:
    """Yield the files and folders that a command names by an absolute path."""
    for word in command:
        path = Path(word.partition("=")[2] or word)
        covers = not path.is_absolute() or path in (Path("/"), Path("/tmp")) or path.parts[1] in OWN  # noqa: S108
        if not covers and (path.is_file() or path.is_dir()):
            yield path


def _work(cwd: Path) -> dict[Path, bool]:
    """Return the mounts of a working folder: of a store all can be read, and only the folder of this execution written."""
    store = Path(os.environ.get("HLSCAPE_STORE") or ".hlscape").resolve()
    if not cwd.is_relative_to(store) or cwd == store:
        return {cwd: True}
    return {store: False, store.joinpath(*cwd.relative_to(store).parts[:2]): True}


def _outermost(mounts: Mapping[Path, bool]) -> dict[Path, bool]:
    """Drop what is inside another mount with the same right, or inside one that can be written."""
    return {
        path: write for path, write in mounts.items()
        if not any(path != other and path.is_relative_to(other) and (other_write or not write) for other, other_write in mounts.items())
    }  # fmt: skip


def _mount(path: Path, write: bool) -> str:
    """Return the value of ``--mount``, a line of CSV; unlike ``--volume`` it takes any path and never makes a missing folder."""
    fields = ["type=bind", f"source={path}", f"target={path}", *([] if write else ["readonly"])]
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()
