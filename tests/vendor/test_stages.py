"""The stages csynth, cosim and vsynth with fake programs: what they measure, and how each failure ends."""

import json
import os
import signal
import threading
import time

import pytest

from flow.core.errors import (
    InvalidInput,
    LicenceUnavailable,
    MismatchError,
    TooLarge,
    ToolFailed,
    ToolNotFound,
    ToolOutOfMemory,
    ToolTimeout,
    ToolVersionMismatch,
)
from flow.stages import load_stage
from flow.vendor.tools import VITIS_HLS, VITIS_RUN, VIVADO, VIVADO_HLS
from tests.fake_tools.vendor import fake_reports as fake
from tests.vendor.conftest import LAYERS, PART, describe


def figures(job, *kinds):
    return {name: m.value for name, m in job.metrics.items() if m.kind in kinds}


@pytest.mark.parametrize(
    ("program", "source"), [("vitis-run", "vitis-run 2024.2"), ("vitis_hls", "vitis_hls 2022.2"), ("vivado_hls", "vivado_hls 2019.2")]
)
def test_csynth_of_each_program(install, execute, program, source):
    fakes = install(program)
    job = execute("csynth")
    assert figures(job, "csynth") == {
        "csynth_lut": fake.LUT, "csynth_ff": fake.FF, "csynth_dsp": fake.DSP, "csynth_bram18": fake.BRAM18,
        "csynth_latency_cycles": fake.LATENCY, "csynth_ii_cycles": fake.II, "csynth_clock_ns": 3.211, "csynth_reuse_factor": 1,
        "csynth_lut_percent": pytest.approx(100 * fake.LUT / 663360), "csynth_ff_percent": pytest.approx(100 * fake.FF / 1326720),
        "csynth_dsp_percent": pytest.approx(100 * fake.DSP / 5520), "csynth_bram18_percent": pytest.approx(100 * fake.BRAM18 / 4320),
    }  # fmt: skip
    metric = job.metrics["csynth_lut"]
    assert (metric.source, metric.part, metric.unit, metric.direction) == (source, PART, "LUT", "lower")
    assert job.metrics["csynth_reuse_factor"].value == 1
    assert (job.out / "csynth_project" / "net_prj" / "solution1" / "syn" / "verilog" / "net.v").is_file()
    assert json.loads((job.out / "csynth_report").read_text())["tool"] == source
    assert fakes.calls()[-1][0] == program
    assert any("scheduling" in text or "writing" in text for _, text in execute.told)


def test_the_program_is_in_the_key(install, execute):
    install("vitis_hls", "vivado")
    assert [tool.read_version() for tool in load_stage("csynth").tools] == ["vitis_hls 2022.2"]
    assert [tool.read_version() for tool in load_stage("vsynth").tools] == ["2022.2"]


@pytest.mark.parametrize(("depth", "kind", "lut"), [("synth", "mapped", fake.MAPPED_LUT), ("route", "routed", fake.ROUTED_LUT)])
def test_vsynth(install, execute, depth, kind, lut):
    install("vitis_hls", "vivado")
    execute("csynth")
    job = execute("vsynth", vendor={"vsynth": depth}, clock_ns=4.0)
    assert figures(job, kind) == {
        "lut": lut, "ff": fake.MAPPED_FF, "dsp": fake.MAPPED_DSP, "bram": fake.TILES, "wns_ns": fake.WNS,
        "fmax_mhz": pytest.approx(1000 / (4 - fake.WNS)), "lut_percent": pytest.approx(100 * lut / 663360),
        "ff_percent": pytest.approx(100 * fake.MAPPED_FF / 1326720), "dsp_percent": pytest.approx(100 * fake.MAPPED_DSP / 5520),
        "bram_percent": pytest.approx(100 * fake.TILES / 2160),
    }  # fmt: skip
    assert job.metrics["lut"].source == "vivado 2022.2 (OOC)"
    assert job.metrics["power_w"].value == fake.WATTS
    assert "confidence Medium" in job.metrics["power_w"].source
    kept = {path.name for path in (job.out / "vsynth_reports").iterdir()}
    assert {"vsynth.tcl", "clock.xdc", "utilization.rpt", "timing.rpt", "power.rpt"} <= kept
    assert "report_power" in (job.out / "vsynth_reports" / "vsynth.tcl").read_text()


def test_cosim_compares_and_counts(install, execute):
    install("vitis_hls")
    execute("csynth")
    job = execute("cosim")
    assert {name: m.value for name, m in job.metrics.items()} == {
        "gate_cosim_mismatches": 0, "gate_cosim_samples": 6, "latency_cycles": fake.COSIM_LATENCY, "ii_cycles": fake.II,
        "latency_ns": fake.COSIM_LATENCY * 5.0,
    }  # fmt: skip
    assert job.metrics["latency_cycles"].kind == "measured"
    assert "vitis_hls 2022.2 cosim" in job.metrics["latency_cycles"].source
    assert any("simulating sample 6 / 6" in text for _, text in execute.told)


@pytest.mark.parametrize(
    ("mode", "error", "words"),
    [
        (
            "mismatch",
            MismatchError,
            r"'cosim' differs from 'twin' in 1 of 6 samples; first: layer output, sample 3, output 0: expected 0\.375",
        ),
        ("cosim-fail", ToolFailed, r"ended with code 1(.|\n)*C/RTL co-simulation finished: FAIL"),
        ("no-outputs", ToolFailed, r"left no outputs of the simulation \(rtl_cosim_results\.log\)"),
        ("no-cosim-report", ToolFailed, r"left no report of the simulation \(net_cosim\.rpt\)"),
    ],
)
def test_cosim_failures(install, execute, monkeypatch, mode, error, words):
    install("vitis_hls")
    execute("csynth")
    monkeypatch.setenv("FAKE_VITIS_HLS", mode)
    with pytest.raises(error, match=words):
        execute("cosim")
    assert not (execute.last.out / "cosim_gate").exists()
    if mode == "mismatch":
        assert execute.last.metrics["gate_cosim_mismatches"].value == 1


def run_to(execute, stage, **settings):
    if stage == "vsynth":
        execute("csynth")
    return execute(stage, **settings)


BOTH = pytest.mark.parametrize(("stage", "program"), [("csynth", "vitis_hls"), ("vsynth", "vivado")])


@BOTH
def test_failure_has_the_last_lines_and_keeps_the_log(install, execute, stage, program):
    install("vitis_hls", "vivado", **{program: "fail"})
    with pytest.raises(ToolFailed, match=rf"{program} ended with code 1(.|\n)*Stop unrolling loop") as caught:
        run_to(execute, stage)
    assert not caught.value.transient, "the same run would fail again"
    assert "Stop unrolling loop" in execute.last.log.read_text()
    assert program in execute.last.replay.read_text()


def gone(pid):
    until = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}") and "Z (" not in open(f"/proc/{pid}/status").read():
        assert time.monotonic() < until, "a process lives on"
        time.sleep(0.01)


@BOTH
def test_time_limit_kills_all_processes(install, execute, stage, program):
    fakes = install("vitis_hls", "vivado", **{program: "child"})
    with pytest.raises(
        ToolTimeout, match=rf"{program} ran past its limit of 2 s(.|\n)*Raise vendor\.max_hours(.|\n)*The log: .*log\.txt"
    ) as caught:
        run_to(execute, stage, vendor={"max_hours": 2 / 3600})
    assert caught.value.transient
    assert "Starting" in (execute.last.scratch / "log.txt").read_text() or "Analyzing" in (execute.last.scratch / "log.txt").read_text()
    for name in ("pid", "child"):
        gone(int((fakes.state / name).read_text()))


def test_memory_limit_kills_all_processes(install, execute):
    fakes = install("vitis_hls", vitis_hls="memory")
    with pytest.raises(ToolOutOfMemory, match=r"limit of 0\.2 GiB(.|\n)*Raise vendor\.max_gb"):
        execute("csynth", vendor={"max_gb": 0.2, "max_hours": 0.01})
    assert (execute.last.scratch / "log.txt").is_file()
    gone(int((fakes.state / "pid").read_text()))


@BOTH
def test_licence_that_comes_back(install, execute, stage, program):
    fakes = install("vitis_hls", "vivado", **{program: "licence-once"})
    job = run_to(execute, stage, vendor={"licence_retries": 2, "licence_wait_s": 1.2})
    assert job.metrics["csynth_lut" if stage == "csynth" else "lut"].value > 0
    assert any("no licence; trying again in 0:01, 2 times more" in text for _, text in execute.told)
    assert len([call for call in fakes.calls() if call[0] == program and "ersion" not in call[1]]) == 2


@BOTH
def test_licence_that_never_comes(install, execute, stage, program):
    fakes = install("vitis_hls", "vivado", **{program: "licence"})
    with pytest.raises(
        LicenceUnavailable, match=r"got no licence(.|\n)*tried 3 times(.|\n)*XILINXD_LICENSE_FILE(.|\n)*The log: "
    ) as caught:
        run_to(execute, stage, vendor={"licence_retries": 2})
    assert caught.value.transient
    assert (execute.last.scratch / "log.txt").read_text().count("icense") >= 3
    assert len([call for call in fakes.calls() if call[0] == program and "ersion" not in call[1]]) == 3


@BOTH
@pytest.mark.parametrize("mode", ["no-report", "bad-report"])
def test_missing_and_damaged_reports(install, execute, monkeypatch, stage, program, mode):
    install("vitis_hls", "vivado", **{program: mode})
    with pytest.raises(ToolFailed, match=r"ended without an error but left no report.*The log of the stage"):
        run_to(execute, stage)
    assert not {name for name in execute.last.metrics if "lut" in name}, "no figure of half a report"


def test_a_design_that_is_too_large_is_refused_before_the_program_starts(install, execute, project):
    fakes = install("vitis_hls")
    describe(project, layers=[{**LAYERS[0], "products": 5000}, LAYERS[1]])
    with pytest.raises(
        TooLarge, match=r"layer fc1: 5000 multiplications are unrolled (.|\n)*reuse_factor of 2 or more.*vendor\.max_unrolled"
    ):
        execute("csynth")
    assert not (fakes.state / "calls").exists()
    assert execute("csynth", vendor={"max_unrolled": 5000}).metrics["csynth_lut"].value == fake.LUT


def test_a_project_of_something_else(install, execute, project):
    install("vitis_hls")
    (project / "hlscape.json").write_text("{}")
    with pytest.raises(InvalidInput, match="not a project that the convert stage wrote"):
        execute("csynth")


def test_without_programs(install, execute):
    install()
    words = r"none of vitis-run, vitis_hls, vivado_hls was found on PATH\. Install AMD Vitis.*HLSCAPE_VITIS_HLS"
    with pytest.raises(ToolNotFound, match=words):
        load_stage("csynth").tools[0].read_version()
    with pytest.raises(ToolNotFound, match=r"vivado was not found.*settings64\.sh"):
        load_stage("vsynth").tools[0].read_version()


@pytest.mark.parametrize(
    ("program", "version", "words"),
    [
        ("vitis-run", "2023.2", r"vitis-run 2023\.2 at .* too old, 2024\.1 or later"),
        ("vitis_hls", "2025.1", r"vitis_hls 2025\.1 at .* too new, 2024\.1 or earlier"),
        ("vivado_hls", "2017.4", r"vivado_hls 2017\.4 at .* too old, 2018\.2 or later"),
        ("vivado_hls", "2020.2", r"vivado_hls 2020\.2 at .* too new, 2020\.1 or earlier"),
        ("vivado", "2016.4", r"vivado 2016\.4 at .* too old"),
    ],
)
def test_wrong_versions(install, monkeypatch, program, version, words):
    install(program)
    monkeypatch.setenv(f"FAKE_{program.upper().replace('-', '_')}_VERSION", version)
    with pytest.raises(ToolVersionMismatch, match=words):
        load_stage("vsynth" if program == "vivado" else "csynth").tools[0].read_version()


def test_an_old_vitis_run_does_not_hide_the_program_beside_it(install, monkeypatch):
    install("vitis-run", "vitis_hls")
    monkeypatch.setenv("FAKE_VITIS_RUN_VERSION", "2023.2")
    monkeypatch.setenv("FAKE_VITIS_HLS_VERSION", "2023.2")
    assert load_stage("csynth").tools[0].read_version() == "vitis_hls 2023.2"


def test_ctrl_c_kills_all_processes(install, execute):
    fakes = install("vitis_hls", vitis_hls="child")

    def interrupt():
        until = time.monotonic() + 20
        while not (fakes.state / "child").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        execute("csynth", vendor={"max_hours": 0.01})
    thread.join()
    for name in ("pid", "child"):
        gone(int((fakes.state / name).read_text()))


def test_figures_of_different_classes_are_not_compared(install, execute):
    install("vitis_hls", "vivado")
    csynth = execute("csynth").metrics["csynth_lut"]
    mapped = execute("vsynth").metrics["lut"]
    routed = execute("vsynth", vendor={"vsynth": "route"}).metrics["lut"]
    assert {m.kind for m in (csynth, mapped, routed)} == {"csynth", "mapped", "routed"}
    assert not any(a.comparable(b) for a, b in ((csynth, mapped), (mapped, routed), (csynth, routed)))


def test_a_routed_design_that_is_none_is_no_result(install, execute, monkeypatch):
    install("vitis_hls", "vivado", vivado="not-routed")
    execute("csynth")
    with pytest.raises(ToolFailed, match=r"left no report of a routed design \(its state is 'Optimized'\)"):
        execute("vsynth", vendor={"vsynth": "route"})
    assert execute.last.metrics == {}


@pytest.mark.parametrize(
    ("program", "banner", "version"),
    [
        (
            VIVADO_HLS,
            "Vivado(TM) HLS - High-Level Synthesis from C, C++ and SystemC\n  Version 2018.2\n  Build 2258646 on Thu Jun 14",
            "2018.2",
        ),
        (VIVADO_HLS, "****** Vivado(TM) HLS - High-Level Synthesis from C, C++ and SystemC v2019.2.1 (64-bit)", "2019.2.1"),
        (
            VITIS_HLS,
            "\n****** Vitis HLS - High-Level Synthesis from C, C++ and OpenCL v2023.2 (64-bit)\n  Tool Version Limit: 2023.10",
            "2023.2",
        ),
        (VITIS_RUN, "\n****** vitis-run v2025.2 (64-bit)\n  **** SW Build 6295257", "2025.2"),
        (VIVADO, "vivado v2024.1 (64-bit)\nTool Version Limit: 2024.05\nSW Build 5076996", "2024.1"),
        (VIVADO, "Vivado v2020.1 (64-bit)\nSW Build 2902540 on Wed May 27 19:54:35 MDT 2020", "2020.1"),
    ],
)
def test_banners(tmp_path, monkeypatch, program, banner, version):
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{banner}\nEND\n")
    path.chmod(0o755)
    monkeypatch.setenv(program.variable, str(path))
    assert program.read_version() == version
