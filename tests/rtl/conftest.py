"""One small network, written as Verilog once."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flow.rtl.lower import lower
from flow.rtl.verilog import write, write_testbench
from tests.rtl import tiny

PART = "xcku115-flvb2104-2-i"


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Folder of Verilog, its manifest, inputs and right outputs."""
    rng = np.random.default_rng(2)
    graph = tiny.convolution(rng)
    lowered = lower(graph)
    x = tiny.inputs(rng, graph, 40)
    y = lowered.predict(x)
    folder = tmp_path_factory.mktemp("rtl") / "verilog"
    manifest = write(lowered, graph, folder, part=PART, clock_ns=4.0, logic_per_stage=3.0)
    write_testbench(manifest, folder / "tb", x, y, 4.0)
    return SimpleNamespace(graph=graph, lowered=lowered, x=x, y=y, folder=folder, manifest=manifest)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a Python script in the place of a tool."""

    def put(name, text):
        path = tmp_path / "fakes" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nimport sys, time\nfrom pathlib import Path\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv(f"HLSCAPE_{name.upper()}", str(path))
        return Path(path)

    return put
