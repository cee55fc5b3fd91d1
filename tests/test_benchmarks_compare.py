"""The harness of the contests with peers, and what the peers' loops compute."""

import copy
import json
import re
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import compare, memory, pylandscape, surface, timing
from benchmarks.__main__ import BENCH, NOT_TOPICS, TOPICS, main, store
from benchmarks.compare import OURS, Contest, Entry, Side
from flow.core.errors import FlowError

KEYS = {"ours_s", "peer_s", "peer", "ratio", "work", "ours_mib", "peer_mib", "baseline", "topic", "software"}


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def contest(**more):
    sides = {
        OURS: Side(lambda: burn(0.02), "ours"),
        "slow": Side(lambda: burn(0.02), "a slow one", 0.1, "1 of 10 parts"),
        "fast": Side(lambda: burn(0.02), "a fast one", 0.5, "5 of 10 parts"),
    }
    return Contest("work", "some work", "slow", sides, {}, 3, {"slow": 8.0}, **more)


def found(contest):
    lines = list(compare.run_contest(contest))
    return [line for line in lines if isinstance(line, str)], {line.name: line.figures for line in lines if isinstance(line, Entry)}


def test_a_part_is_scaled_up_to_the_whole_and_says_so():
    lines, entries = found(contest())
    assert set(entries) == {"work", "work_fast"}, "the naive peer has the name of the work"
    assert entries["work"]["ratio"] == pytest.approx(10, rel=0.3) and entries["work_fast"]["ratio"] == pytest.approx(2, rel=0.3)
    assert entries["work"]["peer_s"] == pytest.approx(0.2, rel=0.3) and entries["work"]["ours_s"] == pytest.approx(0.02, rel=0.3)
    assert "peer: 1 of 10 parts, scaled up" in entries["work"]["work"] and "scaled up" not in contest().work
    assert (entries["work"]["baseline"], entries["work_fast"]["baseline"]) == ("naive", "competent")
    assert entries["work"]["target"] == 8.0 and "target" not in entries["work_fast"]
    assert any("1 of 10 parts" in line and "target 8x" in line for line in lines)


def test_work_that_is_repeated_counts_once():
    sides = {OURS: Side(lambda: burn(0.02), "ours", 4, "4 times"), "peer": Side(lambda: burn(0.02), "peer")}
    entry = found(Contest("work", "some work", "peer", sides, {}, 3))[1]["work"]
    assert entry["ours_s"] == pytest.approx(0.005, rel=0.3) and entry["ratio"] == pytest.approx(4, rel=0.3)
    assert entry["work"] == "some work; ours: 4 times, time of one"


def test_what_is_checked_is_what_the_sides_returned():
    sides = {OURS: Side(lambda: 1, "ours"), "peer": Side(lambda: 2, "peer")}
    lines, entries = found(Contest("work", "", "peer", sides, {}, 1, check=lambda results: f"returned {sorted(results.items())}"))
    assert entries["work"]["agreement"] == "returned [('ours', 1), ('peer', 2)]" and any("returned" in line for line in lines)


def test_warm_up_may_be_shorter_than_a_round():
    order = []
    timing.race({"a": lambda: order.append("long")}, 2, {"a": lambda: order.append("short")})
    assert order == ["short", "long", "long"]


def test_time_of_a_program_counts():
    program = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    import subprocess

    times = timing.race({"a": lambda: subprocess.run([sys.executable, "-S", "-c", program], check=True)}, 1, {})["a"]
    assert times.cpu[0] >= 0.3


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="no /proc")
def test_peak_is_what_the_work_needs_and_not_what_was_there():
    before = np.ones(2**23)  # 64 MiB that do not count
    small, large = (memory.peak_mib(lambda size=size: np.ones(size * 2**17).sum()) for size in (8, 128))
    assert before.size and small == pytest.approx(8, abs=4) and large == pytest.approx(128, abs=8)


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="no /proc")
def test_peak_of_a_program_is_its_own():
    program = "import time; x = bytearray(100 * 2**20); time.sleep(0.3)"
    peak = memory.program_peak_mib([sys.executable, "-S", "-c", program])
    assert 100 < peak < 140


def test_entries_of_other_topics_stay(tmp_path):
    path = tmp_path / "bench" / "bench.json"
    store(path, "emd", {"emd": {"ratio": 1.0}, "emd_old": {"ratio": 1.0}})
    store(path, "surface", {"surface": {"ratio": 2.0}})
    store(path, "emd", {"emd": {"ratio": 3.0}})
    assert json.loads(path.read_text()) == {"emd": {"ratio": 3.0, "topic": "emd"}, "surface": {"ratio": 2.0, "topic": "surface"}}


def test_helpers_are_no_topics():
    assert {"hessian", "surface", "faults", "emd", "inference", "cka", "qat"} <= set(TOPICS)
    assert not set(TOPICS) & set(NOT_TOPICS)


@pytest.fixture(scope="module")
def network():
    """Three samples through a Brevitas network with two quantized layers of 5 bits."""
    import brevitas.nn as qnn
    from brevitas.quant import Int8WeightPerTensorFixedPoint

    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [
            qnn.QuantLinear(n, m, bias=True, weight_quant=Int8WeightPerTensorFixedPoint, weight_bit_width=5) for n, m in ((4, 3), (3, 2))
        ]
        net = nn.Sequential(layers[0], nn.Tanh(), layers[1])
        x = torch.randn(3, 4)
    return net.eval(), lambda moved: moved(x).square().mean()


def test_both_ways_over_points_give_the_loss_of_the_network_there(network):
    net, loss = network
    point = nn.utils.parameters_to_vector(net.parameters()).detach().double().numpy()
    points = np.stack([point, 1.1 * point])
    copied, placed = (way(net, loss, points) for way in (pylandscape.copied_losses, pylandscape.placed_losses))
    np.testing.assert_array_equal(copied, placed)
    assert copied[0] == pytest.approx(loss(net).item()) and copied[1] != copied[0]
    np.testing.assert_array_equal(nn.utils.parameters_to_vector(net.parameters()).detach().numpy(), point.astype(np.float32))


def test_a_flip_is_the_network_with_that_one_weight_changed(network):
    net, loss = network
    before = [p.detach().clone() for p in net.parameters()]
    bit = (12 + 1) * 5 + 1  # layer 0 has weights 0 to 11 of 5 bits: bit 1 of weight 1 of the second layer
    faulty = copy.deepcopy(net)
    quantized = faulty[2].quant_weight()
    code = pylandscape._flipped(int(quantized.int().flatten()[1]), 1, 5)
    faulty[2].weight.data.view(-1)[1] = code * float(quantized.scale)
    expected = loss(faulty).item()
    assert expected != loss(net).item()
    for way in (pylandscape.attacked_losses, pylandscape.placed_attack_losses):
        assert way(net, loss, np.array([[bit]])).tolist() == [expected]
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_flips_in_place_are_taken_back(network):
    net, loss = network
    masks = np.array([[66, 3], [7, 7], [66, 3]])
    first, clean, again = pylandscape.placed_attack_losses(net, loss, masks)
    assert first == again != clean and clean == pytest.approx(loss(net).item(), rel=1e-6)


@pytest.mark.parametrize(("code", "bit", "expected"), [(0, 0, 1), (0, 4, -16), (-1, 4, 15), (5, 0, 4), (-16, 4, 0), (-3, 1, -1)])
def test_flip_of_a_twos_complement_code(code, bit, expected):
    assert pylandscape._flipped(code, bit, 5) == expected
    assert pylandscape._flipped(expected, bit, 5) == code


def test_a_peer_that_is_not_installed_is_told(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("benchmarks.hessian.installed", lambda package: False)
    main(["hessian", "--quick", "--out", str(tmp_path / "b.json")])
    assert "pyhessian: not installed: pip install -e '.[bench]'" in capsys.readouterr().out
    assert json.loads((tmp_path / "b.json").read_text()) == {}


def test_a_topic_that_cannot_run_leaves_the_others_alone(monkeypatch, capsys, tmp_path):
    def fail(quick):
        yield Entry("emd", {"ratio": 1.0})
        raise FlowError("no compiler")

    monkeypatch.setattr("benchmarks.emd.run", fail)
    monkeypatch.setattr("benchmarks.hessian.run", lambda quick: iter([Entry("hessian_trace", {"ratio": 9.0})]))
    main(["emd", "hessian", "--quick", "--out", str(tmp_path / "b.json")])
    assert "emd is left out: no compiler" in capsys.readouterr().out
    assert json.loads((tmp_path / "b.json").read_text())["hessian_trace"]["ratio"] == 9.0


@pytest.mark.slow
def test_every_contest_on_little_data(tmp_path, monkeypatch):
    monkeypatch.setenv("HLSCAPE_STORE", str(tmp_path / "store"))
    before = BENCH.read_bytes() if BENCH.is_file() else None
    path = tmp_path / "bench.json"
    main(["surface", "faults", "inference", "cka", "emd", "hessian", "--quick", "--out", str(path)])
    entries = json.loads(path.read_text())
    for name in ("surface", "surface_in_place", "fault_campaign", "fault_campaign_in_place", "single_bit_map", "inference"):
        assert KEYS <= set(entries[name]) and entries[name]["ratio"] > 0
    campaign = entries["fault_campaign"]
    assert 0 < campaign["peak_share"] < 1 and 0 < campaign["ours_macs"] <= campaign["full_macs"]
    assert 0 < entries["emd_ot_emd2"]["bound_share_10"] <= 1 + 1e-9 and entries["emd_ot_emd2"]["bound_share_1"] > 0.5
    if compare.installed("pyhessian"):
        assert {"hessian_trace", "hessian_top_eigenvalue"} <= set(entries)
    assert ("emd" in entries) == compare.installed("pyemd") and "emd_ot_emd2" in entries
    said = entries["surface"]["agreement"]
    assert float(re.search(r"agree to (\S+)", said)[1]) < 1e-5
    assert "csim 0 of" in entries["inference"]["agreement"]
    assert (BENCH.read_bytes() if BENCH.is_file() else None) == before, "figures of a quick run say nothing"


def test_difference_counts_only_points_that_both_have():
    assert "2.0e-01" in surface.difference({OURS: np.array([1.0, 2.0, 9.0]), "a": np.array([1.0, 2.4]), "b": np.array([1.0])})


def test_a_point_has_the_flips_of_its_mask_and_no_other(tmp_path):
    """Against the peers' rule of flipping: bit i of all is bit i % b of weight i // b, layer by layer; twice is not at all."""
    from types import SimpleNamespace

    from benchmarks.faults import faulty_points, weight_bits
    from flow.landscape._problem import build_problem
    from flow.twin import load_twin
    from tests.qonnx_models import write_mlp

    twin = load_twin(write_mlp(tmp_path / "m.onnx", (4, 5, 3)))
    problem = build_problem(twin, None, lambda o, t: (o - t).square().mean(1), torch.zeros(2, 4), torch.zeros(2, 3))
    net, codes = SimpleNamespace(twin=twin, problem=problem), twin.codes(twin.params)
    weights, total = [name for name, form in twin.weights.items() if form.role == "weight"], weight_bits(net).total
    assert total == sum(codes[name].numel() * twin.weights[name].bits for name in weights)
    masks = np.stack([np.random.default_rng(i).choice(total, 6, replace=False) for i in range(9)])
    masks[0, 0], masks[1, 0], masks[2, :2] = 0, total - 1, 7
    for point, mask in zip(np.concatenate(list(faulty_points(net, masks, 4))), masks, strict=True):
        flipped = {name: code.clone() for name, code in codes.items()}
        for bit in mask.tolist():
            rest = bit
            for name in weights:
                width, words = twin.weights[name].bits, flipped[name].view(-1)
                if 0 <= rest < len(words) * width:
                    words[rest // width] = pylandscape._flipped(int(words[rest // width]), rest % width, width)
                rest -= len(words) * width
        expected = [code.double() * twin.weights[name].steps(code.double()) for name, code in flipped.items()]
        np.testing.assert_array_equal(point, torch.cat([e.reshape(-1) for e in expected]).numpy())


def test_the_share_of_the_peak_is_what_ours_multiplied_in_its_time(monkeypatch):
    from types import SimpleNamespace

    from benchmarks import faults

    monkeypatch.setattr(faults, "peak_rate", lambda: 1000.0)
    net = SimpleNamespace(engine=faults.COMPILED, problem=SimpleNamespace(engine=SimpleNamespace(products=100)), x=np.zeros(4))
    lines = ["a row", Entry("fault_campaign", {"ours_s": 2.0, "ratio": 9.0})]
    row, entry, said = faults.with_share(iter(lines), net, np.zeros((5, 10)), [7, 500])
    assert row == "a row" and entry.name == "fault_campaign"
    assert entry.figures == {
        "ours_s": 2.0, "ratio": 9.0, "ours_macs": 500, "full_macs": 2000, "peak_macs_per_s": 1000.0, "peak_share": 0.25,
    }  # fmt: skip
    assert "25% of the peak" in said
    net.engine = "torch twin: no compiler"
    assert list(faults.with_share(iter(lines), net, np.zeros((5, 10)), [])) == lines


def test_the_peak_is_that_of_a_vector_unit():
    """Above one multiplication a cycle of the slowest machine there is, below two vectors of 16 at 8 GHz."""
    from benchmarks.faults import peak_rate

    assert 1e9 < peak_rate() < 2 * 16 * 8e9
