import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy, timing
from benchmarks.__main__ import main
from flow.core.metric import Metric

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_benchmarks_run(capsys):
    main(["qat", "--quick"])
    rows = [line for line in capsys.readouterr().out.splitlines() if re.search(r"\d\.\d\d to \d", line)]
    assert len(rows) == 4
    assert "limit 2.5" in rows[0]
    assert "Brevitas" in rows[3]


def test_a_topic_that_does_not_exist(capsys):
    with pytest.raises(SystemExit):
        main(["qatt"])
    words = capsys.readouterr().err
    assert "no such topic: qatt" in words and all(topic in words for topic in ("qat", "estimate", "hessian", "surface", "emd"))


def test_contestants_take_turns():
    order = []
    found = timing.race({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4, "one round of warm-up"
    assert found["a"].wall.shape == (3,)


def test_the_ratio_is_the_median_within_rounds():
    peer = np.array([1.0, 10.0, 100.0])
    slow = timing.Times(peer, np.array([2.0, 30.0, 200.0]))
    assert slow.ratio(timing.Times(peer, peer))[0] == 2.0


def test_interval_over_seeds_is_student_t():
    # t(0.975, 2) = 4.302653; the standard error of 1, 2, 3 is 1/sqrt(3)
    assert accuracy.over_seeds([1.0, 2.0, 3.0]) == "2.0 ± 2.5"
    assert accuracy.over_seeds([1.0]) == "1"


def run(emd, emd_float, **more):
    given = {"emd": (emd, "lower"), "emd_float": (emd_float, "lower"), "emd_trivial": (9.0, "lower"), **more}
    return {name: Metric(value, "u", direction=direction) for name, (value, direction) in given.items()}


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_taken_within_a_seed():
    seeds = [run(2.0, 1.0), run(4.0, 2.0), run(6.0, 3.0)]
    longer = [run(0, 0.5), run(0, 1.0), run(0, 1.5)]
    head, _, row = accuracy.table(seeds, longer)
    assert len(cells(head)) == len(cells(row)) == 6
    assert cells(row) == ["emd [u] (lower is better)", "2.0 ± 2.5", "4.0 ± 5.0", "2 ± 0", "1.0 ± 1.2", "4 ± 0"]


def test_every_score_that_float_has_too_is_a_row_and_the_task_score_is_first():
    more = {
        "auc": (0.9, "higher"),
        "auc_float": (0.8, "higher"),
        "bias": (-0.1, "none"),
        "bias_float": (0.1, "none"),
        "epochs": (9, "none"),
    }
    rows = accuracy.table([run(2.0, 1.0, **more)], [])[2:]
    assert [cells(row)[0].split()[0] for row in rows] == ["emd", "auc", "bias"]
    assert "(higher is better)" in rows[1] and cells(rows[1])[3] == "1.125"
    assert cells(rows[2])[3] == "–", "a ratio of values of both signs means nothing"


def test_seeds_and_the_longer_float_training_are_asked_for():
    asked = []

    def fake(path, until, sets):
        asked.append((until, *sets))
        return {**run(1.0, 1.0), "samples_test": Metric(100)}

    lines = accuracy.report(ROOT / "models/econ_t/point.toml", ["train.epochs=7", "network.weight_bits=5"], 2, True, fake)
    assert asked[:2] == [("train", "train.epochs=7", "network.weight_bits=5", f"seed={k}") for k in (0, 1)]
    assert asked[3] == ("pretrain", "train.epochs=7", "network.weight_bits=5", "seed=1", "train.pretrain_epochs=22")
    assert "5-bit weights, 5-bit activations" in lines[0] and "then 7 with quantizers" in lines[0]


def test_a_seed_that_failed_is_not_left_out(tmp_path, capsys, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert accuracy.main(["econ_t", "--seeds", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "seed=0: no score" in err


def test_the_metrics_of_a_run_are_read(tmp_path, monkeypatch):
    python, document = tmp_path / "python", json.dumps({"metrics": {"emd": Metric(1.5, ci=(1, 2)).to_json()}})
    python.write_text(f"#!/bin/sh\necho '{document}'\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert accuracy.hlscape(Path("p.toml"), "train", ["seed=0"]) == {"emd": Metric(1.5, ci=(1, 2))}


def test_a_wrong_request_is_told(capsys):
    assert accuracy.main(["econ_t", "--set", "network.weight_bits=99"]) == 1
    assert "network.weight_bits" in capsys.readouterr().err
