"""What only an unrolled network has is refused with a stream, before any work; a plain stream has none of it."""

import pytest

from flow.core.errors import ConfigError, ToolNotFound
from flow.points import load_point
from flow.rtl.simulate import IVERILOG, VVP
from flow.stages import all_stages, rtl


@pytest.fixture
def stream(tmp_path):
    path = tmp_path / "stream.toml"
    path.write_text('model = "plasma"\n[hardware]\nio = "stream"\n')
    return path


def check(path, *settings):
    """Ask all stages of a point, as is done before any work; return which they are."""
    point = load_point(path, settings)
    stages = all_stages(point)
    for stage in stages:
        stage.check(point)
    return {stage.id for stage in stages}


def test_it_is_refused_before_any_work(hlscape, stream, tmp_path):
    hlscape("run", stream, "--set", "registers.flips=200").refused("registers.flips = 200", "hardware.io", "Set registers.flips = 0")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('protection.methods=["tmr", "registers"]', r"protection.methods = registers: .*hardware.io = 'stream'.*tmr and ecc"),
        ('protection.methods=["clip"]', r"protection.methods = clip: .*hardware.io = 'stream'.*Leave it out"),
        ("hardware.axi_stream=true", r"hardware.axi_stream = true: .*network_axis.*Leave it out"),
        ("hardware.logic_per_stage=20", r"hardware.logic_per_stage = 20: .*hardware.clock_ns.*Leave it out"),
        ("hardware.reuse_factor=2", r"hardware.reuse_factor = 2: .*hardware.frame_rate_hz"),
    ],
)
def test_what_a_stream_has_not_is_refused(stream, setting, words):
    with pytest.raises(ConfigError, match=words):
        check(stream, setting)
    if "reuse" not in setting:
        check(stream, setting, "hardware.io=parallel")


def test_a_stream_needs_verilator(stream, monkeypatch):
    monkeypatch.setattr(rtl, "TOOLS", (IVERILOG, VVP))
    with pytest.raises(ToolNotFound, match=r"hardware.io = 'stream': .*Verilator only"):
        check(stream)
    check(stream, "hardware.io=parallel")


def test_stores_of_weights_do_not_depend_on_it(stream):
    assert "harden" in check(stream, 'protection.methods=["tmr", "ecc"]')


def test_a_plain_stream_passes_for_every_family(stream):
    for part in ("xcku035-fbva676-2-e", "lfe5u-85f"):
        stages = check(stream, f"hardware.part={part}", "gate.waveform=true")
        assert {"rtl", "rtlsim", "synth", "netsim", "robustness", "waveform"} <= stages
        assert ("route" in stages) is part.startswith("lfe5u")


def test_a_part_that_is_not_routed_is_refused(hlscape, stream):
    hlscape("run", stream, "--until", "route").refused("'route' is not a stage", "netsim")
