"""A tiny design point, a store that all tests of this folder share, and the command line called in this process."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from flow.cli import main
from flow.core import plan
from flow.stages import IDS

TINY = """
model = "econ_t"
name = "tiny"
[network]
size = "small"
weight_bits = 3
input_bits = 4
latent_bits = 4
bias_bits = 12
[data]
samples = 2000
[train]
pretrain_epochs = 4
epochs = 8
[hardware]
logic_per_stage = 50.0
[gate]
samples = 64
rtl_samples = 16
[landscape]
samples = 64
probes = 2
[robustness]
samples = 64
noise_draws = 2
flips = [1]
trials = 2
flip_samples = 32
"""


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def refused(self, *words: str) -> None:
        """Check for exit code 2 and one paragraph without a traceback that has all the words."""
        assert self.code == 2, self.err
        assert self.out == ""
        assert "Traceback" not in self.err
        assert "\n\n" not in self.err.strip()
        message = self.err[self.err.index("hlscape ") :]
        assert self.err.removesuffix(message).count("\n") <= 1, "only the line that names the point may stand before it"
        missing = [word for word in words if word not in message]
        assert not missing, f"{missing} not in: {self.err}"


@pytest.fixture
def tiny(tmp_path) -> Path:
    """TOML file of the tiny point."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def hlscape(monkeypatch, capsys, tmp_path):
    """Call the command line in an empty folder; `store` is its store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def call(*args: object, store: Path = tmp_path / "store", **variables: str) -> Done:
        plan._version.cache_clear()
        with monkeypatch.context() as patch:
            for name, value in {"HLSCAPE_STORE": str(store), **variables}.items():
                patch.setenv(name, value)
            capsys.readouterr()
            try:
                code = main([str(a) for a in args])
            except SystemExit as stop:
                code = int(stop.code or 0)
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def _shared(tmp_path_factory) -> Path:
    base = tmp_path_factory.getbasetemp()
    base = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cli"  # of all workers
    base.mkdir(exist_ok=True)
    return base


@pytest.fixture
def finished(_shared, hlscape, tiny, gxx) -> Path:
    """Store in which the tiny point went through the whole flow. Do not write to it; see `copy_without`."""
    store = _shared / "store"
    if not (store / "points" / "tiny.json").is_file():  # two workers may get here at once; the store's locks sort that out
        assert hlscape("run", tiny, store=store, HLSCAPE_G__=gxx).code == 0
    return store


@pytest.fixture
def copy_without(finished, tmp_path):
    """Copy the finished store without some stages."""

    def copy(*stages: str) -> Path:
        store = tmp_path / "copy"
        shutil.copytree(finished, store, ignore=shutil.ignore_patterns("locks", "tmp", "modules"))
        for stage in stages:
            shutil.rmtree(store / stage)
        return store

    return copy


@pytest.fixture
def tmpfs(tmp_path):
    """Mount small file systems; needs root."""
    mounted = []

    def mount(mebibytes: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("file systems cannot be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def whole(store: Path) -> None:
    """Check that no lock and no unfinished result is left."""
    assert list((store / "locks").glob("*")) == []
    assert [p.name for p in (store / "tmp").glob("*") if not p.name.startswith("partial-")] == []
    for stage in IDS:
        for folder in (store / stage).glob("*"):
            assert {"key.json", "out", "result.json"} <= {p.name for p in folder.iterdir()}
