"""Stage harden on a small network, with Yosys."""

import json
from fnmatch import fnmatch

import numpy as np
import pytest

from flow.config import DesignPoint
from flow.core.errors import ConfigError, InvalidInput, MismatchError
from flow.protection.bits import GROUPS, deployed
from flow.protection.hamming import check_bits
from flow.protection.registers import registers, triplicate
from flow.stages import harden


def records(job):
    with np.load(job.output("hardened"), allow_pickle=False) as file:
        return dict(file)


def test_stores_are_priced_and_what_is_left_is_what_the_map_says(built, harden_job):
    job = harden_job("tmr", "ecc")
    harden.run(job)
    assert all(any(fnmatch(name, pattern) for pattern in harden.STAGE.measures) for name in job.metrics)
    found, harm = records(job), built.harm
    total, worst = len(harm), np.sort(harm)[::-1]
    visible = (worst >= 0.1 * built.subject.clean[:12].mean()) & (worst > 0)
    for method in ("tmr", "ecc"):
        counts = np.round(found[f"harden_{method}_share"] * total).astype(int)
        assert counts[-1] == total
        assert (np.diff(counts) > 0).all()
        assert found[f"harden_{method}_degradation"] == pytest.approx([worst[c:].sum() / total for c in counts])
        assert found[f"harden_{method}_visible"] == pytest.approx([100 * visible[c:].sum() / total for c in counts])
        assert found[f"harden_{method}_degradation_random"] == pytest.approx((1 - counts / total) * harm.mean())
        assert (found[f"harden_{method}_degradation"] <= found[f"harden_{method}_degradation_msb"] + 1e-12).all()
        for i, percent in enumerate(("10", "50", "100")):
            assert job.metrics[f"harden_{method}_lut_{percent}"].value == found[f"harden_{method}_lut"][i] > 0
            share = job.metrics[f"harden_{method}_lut_percent_{percent}"].value
            assert share == pytest.approx(100 * found[f"harden_{method}_lut"][i] / built.total["lut"])
        for key in ("degradation", "visible"):
            campaign = job.metrics[f"harden_{method}_campaign_{key}"]
            low, high = campaign.ci
            assert 0 < high - low < 2 * campaign.value
            assert abs(campaign.value - found[f"harden_{method}_{key}"][0]) < high - low, "within four standard errors"
    folders = {path.name for path in job.output("hardened_rtl").iterdir()}
    assert folders == {"README.md", *(f"{method}_{percent}" for method in ("tmr", "ecc") for percent in (10, 50, 100))}
    stream = (job.output("hardened_rtl") / "tmr_100" / "stream.mem").read_text().split()
    assert [int(b) for b in stream[::-1]] == deployed(built.subject.space())[np.argsort(-harm, kind="stable")].tolist()
    counts = np.round(found["harden_tmr_share"] * total).astype(int)
    assert found["harden_tmr_ff"].tolist() == found["harden_tmr_lut"].tolist() == (2 * counts).tolist()
    first = int(np.round(found["harden_ecc_share"][0] * total))
    assert found["harden_ecc_ff"][0] in [check_bits(k) * -(-first // k) for k in GROUPS]


def test_a_map_that_does_not_tell_the_truth_is_noticed(built, harden_job, tmp_path):
    wrong = built.harm + 0.01
    np.savez(tmp_path / "wrong.npz", single_bit_map_degradation=wrong, single_bit_map_threshold=0.1)
    with pytest.raises(MismatchError, match="by the single-bit map"):
        harden.run(harden_job("tmr", faults=tmp_path / "wrong.npz"))


def test_a_map_of_another_network_is_refused(harden_job, tmp_path):
    np.savez(tmp_path / "other.npz", single_bit_map_degradation=np.zeros(7), single_bit_map_threshold=0.1)
    with pytest.raises(InvalidInput, match="the map has 7 bits"):
        harden.run(harden_job("ecc", faults=tmp_path / "other.npz"))


def test_triplicated_registers_cost_two_more_and_a_voter_and_hide_every_upset(built, harden_job):
    job = harden_job("registers")
    harden.run(job)
    bits = sum(registers({p.name: p.read_text() for p in (built.paths["verilog"] / "src").iterdir()}).values())
    assert job.metrics["harden_registers_ff"].value == 2 * built.total["ff"]
    assert built.total["ff"] <= bits
    assert job.metrics["harden_registers_lut"].value >= built.total["ff"]
    assert job.metrics["harden_registers_changed"].value == 0
    assert job.metrics["harden_registers_changed"].ci[1] < 0.5
    assert job.metrics["harden_registers_bare_changed"].value > 5
    assert "harden_bare_degradation" not in job.metrics
    assert records(job)["harden_registers_ff"] == [3 * built.total["ff"]]
    assert "tripled" in (job.output("hardened_rtl") / "registers" / "src" / "network.v").read_text()


def test_some_registers_only(built):
    sources = {p.name: p.read_text() for p in (built.paths["verilog"] / "src").iterdir()}
    first, *others = registers(sources)
    text = triplicate(sources, [others[0]])["network.v"]
    assert text.count("tripled #(") == 1
    assert f"{first}[" in text.split("always")[1]
    assert f"wire [{registers(sources)[others[0]] - 1}:0] {others[0]};" in text
    with pytest.raises(InvalidInput, match="no register nothing"):
        triplicate(sources, ["nothing"])
    with pytest.raises(InvalidInput, match="not those that are known"):
        triplicate({"a.v": "module a(input clk);\n  reg [3:0] b;\n  always @(posedge clk) b <= b;\nendmodule\n"})


def test_protection_of_critical_bits_needs_the_map():
    point = DesignPoint.model_validate({"model": "econ_t", "protection": {"methods": ["tmr"]}, "robustness": {"perturbations": ["gauss"]}})
    with pytest.raises(ConfigError, match="add single_bit_map"):
        harden.check(point)
    harden.check(point.model_copy(update={"protection": point.protection.model_copy(update={"methods": ("registers",)})}))


def test_a_report_without_packed_tables_is_enough(built, harden_job, tmp_path):
    document = json.loads(built.paths["synth_report"].read_text())
    document["total"]["lut6_packed"] = None
    (tmp_path / "report.json").write_text(json.dumps(document))
    job = harden_job("registers", synth_report=tmp_path / "report.json")
    harden.run(job)
    assert "harden_registers_lut6_packed" not in job.metrics
