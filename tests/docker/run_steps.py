"""Execute the Dockerfile without an engine: its steps run in a Debian root made by debootstrap. Needs Linux, root and the package indexes.

    make dockercheck        # python -m tests.docker.run_steps FOLDER

What differs from an image: one root instead of layers; the base is Debian's own Python 3.11 in a virtual environment at /usr/local, where
the official image has its interpreter; pip's and apt's configuration of this machine is lent to each step, and nothing of it is kept.
The checks at the end run as a user that the root does not know: the flow in a mounted folder, and a vendor tool as the launcher ``docker``
would run it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path

from flow.core import container
from tests.docker.dockerfile import Step, expand, parse, words

PROJECT = Path(__file__).parents[2]
PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
STRANGER = "12345:54321"
TINY = (
    "data.samples=2000", "train.pretrain_epochs=2", "train.epochs=2", "network.size=small", "network.weight_bits=3", "network.input_bits=4",
    "network.latent_bits=4", "gate.samples=64", "gate.rtl_samples=64", "landscape.samples=64", "landscape.probes=2",
    "robustness.samples=64", "robustness.trials=2",
)  # fmt: skip
Mount = tuple[str, Path, str]  # r or w, path here, path there

# Arguments: root, user, folder, then three words for each mount, --, the command. All mounts end with it.
ENTER = """
set -e
root=$1 user=$2 folder=$3; shift 3
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    if [ -d "$2" ]; then mkdir -p "$root$3"; else mkdir -p "$(dirname "$root$3")"; : >> "$root$3"; fi
    mount --bind "$2" "$root$3"
    if [ "$1" = r ]; then mount -o remount,bind,ro "$root$3"; fi
    shift 3
done
shift
exec chroot --userspec="$user" "$root" /usr/bin/env --chdir="$folder" -- "$@"
"""
TOOL = """#!/bin/bash
# Needs what the loaders of Vivado and Vitis HLS need, and writes where they write.
set -e
python3 -c 'import ctypes, sys; [ctypes.CDLL(n) for n in sys.argv[1:]]' libtinfo.so.5 libncurses.so.5 libX11.so.6 libXext.so.6 \\
    libXrender.so.1 libXtst.so.6 libXi.so.6 libXft.so.2 libfreetype.so.6 libfontconfig.so.1
[ "$(LC_ALL=en_US.UTF-8 locale charmap 2>&1)" = UTF-8 ]
type ps unzip make g++ bash vitis_hls > /dev/null
[ "$XILINX_HLS" = "${0%/bin/*}" ]
touch here.log "$HOME/.Xilinx"
if touch "${0%/*}/written" 2> /dev/null; then echo 'the tools can be written'; exit 1; fi
echo 'int main() { return 0; }' > t.cpp && g++ -o t t.cpp && ./t
echo "finished as $(id -u):$(id -g) in $PWD with $1"
"""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Root:
    """A Debian root, and what of this machine is lent to it while a command runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.user, self.workdir = folder, "0:0", "/"
        self.env = {"PATH": f"/usr/local/bin:{container.PATH}", "LANG": "C.UTF-8"}

    def run(self, argv: list[str], mounts: list[Mount], env: dict[str, str], *, capture: bool = False) -> str:
        """Run a command inside; return what it printed if that was to be captured."""
        given = [str(part) for mount in (*mounts, *lent()) for part in mount]
        command = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "sh", "-c", ENTER, "enter"]
        command += [str(self.folder), self.user, self.workdir, *given, "--", *argv]
        done = subprocess.run(command, env={**self.env, **env}, text=True, stdout=subprocess.PIPE if capture else None, check=False)
        if done.returncode:
            raise SystemExit(f"code {done.returncode} of: {' '.join(argv)}\n{done.stdout or ''}")
        return done.stdout or ""


def lent() -> list[Mount]:
    """Return this machine's name service, certificates and index configuration, to be mounted read-only."""
    files = ["/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf", "/etc/xdg/pip"]
    files += ["/etc/apt/sources.list.d/debian.sources"]
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    values = [word.removeprefix("file://") for line in listed.splitlines() for word in line.partition("=")[2].strip("'").split()]
    folders = [value.removesuffix("/simple") for value in values if value.startswith("/") and Path(value).is_dir()]
    return [("r", Path(path).resolve(), path) for path in dict.fromkeys([*files, *folders]) if Path(path).exists()]


def lent_env() -> dict[str, str]:
    """Return this machine's variables for pip and for a proxy."""
    return {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower() in ("http_proxy", "https_proxy", "no_proxy")}


def make_base(folder: Path) -> None:
    """Make the stand-in for python:3.11-slim-bookworm."""
    if (folder / "usr/local/bin/python").exists():
        return
    if not (folder / "usr/bin/python3.11").exists():
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(folder)], check=True)
    acquire = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout.splitlines()
    (folder / "etc/apt/apt.conf.d/99machine").write_text("\n".join(x for x in acquire if x.startswith("Acquire::Check")) + "\n")
    Root(folder).run(["python3", "-m", "venv", "/usr/local"], [], {})


def excluded(path: str, patterns: list[str]) -> bool:
    """Tell whether .dockerignore keeps a file out; the last pattern that matches decides."""
    out = False
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        names = Path(path).parts if bare.startswith("**/") else [path, *(str(p) for p in Path(path).parents)]
        if any(fnmatch(name, bare.removeprefix("**/")) for name in names if name != "."):
            out = not pattern.startswith("!")
    return out


def copy(step: Step, root: Root) -> None:
    """Execute COPY: files of the project that .dockerignore lets through."""
    patterns = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    *sources, target = words(step.text)
    for source in sources:
        whole = PROJECT / source
        files = [whole] if whole.is_file() else [p for p in whole.rglob("*") if p.is_file()]
        kept = [p for p in files if not excluded(str(p.relative_to(PROJECT)), patterns)]
        if not kept:
            raise SystemExit(f"line {step.line}: COPY {source}: nothing of it is in the build context")
        for path in kept:
            inside = path.relative_to(whole) if whole.is_dir() else path.name if target.endswith("/") else ""
            to = root.folder / Path(root.workdir, target, inside).relative_to("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
            to.chmod(path.stat().st_mode & 0o777)


def execute(steps: list[Step], root: Root) -> list[str]:
    """Execute steps; return the ENTRYPOINT."""
    arguments: dict[str, str] = {}
    entry: list[str] = []
    for step in steps:
        started = time.monotonic()
        say(f"--- line {step.line}: {step.kind} {step.text[:110]}")
        if step.kind == "ARG":
            name, _, value = step.text.partition("=")
            arguments[name] = value.strip('"')
        elif step.kind == "ENV":
            root.env |= dict(pair.split("=", 1) for pair in words(expand(step.text, {**root.env, **arguments})))
        elif step.kind == "RUN":
            root.run(["/bin/sh", "-c", step.text], [], {**arguments, **lent_env()})
            say(f"--- {time.monotonic() - started:.0f} s")
        elif step.kind == "COPY":
            copy(step, root)
        elif step.kind == "WORKDIR":
            root.workdir = step.text
            (root.folder / root.workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step.kind == "USER":
            root.user = step.text
        elif step.kind == "ENTRYPOINT":
            entry = words(step.text.strip("[]").replace(",", " "))
        elif step.kind not in ("FROM", "HEALTHCHECK", "CMD"):
            raise SystemExit(f"line {step.line}: {step.kind} is not known here")
    return entry


def launched(root: Root, command: list[str], cwd: Path) -> str:
    """Run a vendor tool with what the launcher ``docker`` would tell Docker; return what it printed."""
    options: dict[str, list[str]] = {}
    rest = list(container.Container().argv(command, {}, cwd, "steps"))[2:]
    while rest[0].startswith("-"):
        word = rest.pop(0)
        options.setdefault(word, []).append("" if word in ("--rm", "--init") else rest.pop(0))
    mounts: list[Mount] = []
    for text in options["--mount"]:
        fields = dict(part.partition("=")[::2] for part in text.split(","))
        mounts.append(("r" if "readonly" in fields else "w", Path(fields["source"]), fields["target"]))
    env = dict(word.split("=", 1) for word in options["--env"] if "=" in word)
    root.user, root.workdir = STRANGER, options["--workdir"][0]
    return root.run([*options["--entrypoint"], *rest[1:]], mounts, env, capture=True)


def check(root: Root, entry: list[str]) -> None:
    """Use the image as any user: the flow, with its results in a mounted folder, and a vendor tool of this machine."""
    with tempfile.TemporaryDirectory() as name:
        work, tools = Path(name, "work"), Path(name, "Xilinx")
        tool = tools / "Vitis_HLS/2023.2/bin/vitis_hls"
        for folder in (work, tool.parent):
            folder.mkdir(parents=True)
        shutil.copytree(PROJECT / "models", work / "models")
        tool.write_text(TOOL)
        for path in (Path(name), *Path(name).rglob("*")):
            path.chmod(0o777)
        root.user, root.workdir = STRANGER, "/work"
        for command in (["doctor"], ["run", "models/econ_t/point.toml", *(f"--set={pair}" for pair in TINY)]):
            root.run([*entry, *command], [("w", work, "/work")], {"HOME": "/"})
        owners = {f"{p.stat().st_uid}:{p.stat().st_gid}" for p in (work / ".hlscape").rglob("*")}
        if owners != {STRANGER}:
            raise SystemExit(f"the results belong to {owners}")
        os.environ["XILINX_ROOT"] = str(tools)
        said = launched(root, [str(tool), "an argument"], work)
        if f"finished as {STRANGER} in {work} with an argument" not in said:
            raise SystemExit(f"the vendor tool said: {said}")
        say(said)


def main() -> None:
    """Make the base once, then build and check a copy of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the roots; 4 GB are needed")
    parser.add_argument("--keep", action="store_true", help="check the root that is there, without building it")
    given = parser.parse_args()
    if os.geteuid() or not shutil.which("debootstrap"):
        raise SystemExit("this needs root and debootstrap (Debian: apt install debootstrap)")
    folder = given.folder.resolve()
    steps, root = parse((PROJECT / "Dockerfile").read_text()), Root(folder / "root")
    container._check = lambda image: None  # there is no engine to ask
    if not given.keep:
        folder.mkdir(parents=True, exist_ok=True)
        make_base(folder / "base")
        if str(root.folder) in Path("/proc/self/mounts").read_text():
            raise SystemExit(f"something is still mounted below {root.folder}, and would be removed with it")
        shutil.rmtree(root.folder, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", str(folder / "base"), str(root.folder)], check=True)
    entry = execute([s for s in steps if s.kind not in ("RUN", "COPY")] if given.keep else steps, root)
    check(root, entry)
    say(f"all steps and checks passed; the root is {root.folder}")


if __name__ == "__main__":
    main()
