"""`hlscape check MODEL.onnx --data FILE`: networks from elsewhere against rules."""

import json

import numpy as np
import pytest

from tests.imported.networks import GOOD, write_data, write_signed
from tests.qonnx_models import write_mlp

SETS = (
    "gate.samples=64", "gate.rtl_samples=16", 'landscape.metrics=["hessian_trace", "gradient_norm"]', "landscape.samples=64",
    "landscape.probes=4", "robustness.trials=5", "robustness.samples=100", "robustness.noise_draws=2", "robustness.flips=[1]",
    'robustness.perturbations=["gauss", "bit_flip"]',
)  # fmt: skip
QUICK = [word for text in SETS for word in ("--set", text)]


def rule(metric, more):
    return f'[[rule]]\nmetric = "{metric}"\n{more}\nwhy = "because"\n'


@pytest.fixture
def rules(tmp_path):
    def write(*lines):
        (tmp_path / "my.toml").write_text("".join(lines))
        return tmp_path / "my.toml"

    return write


@pytest.fixture
def jets(tmp_path):
    network = write_mlp(tmp_path / "jets.onnx", seed=GOOD)
    return network, write_data(tmp_path / "jets.npz", network)


def test_go(hlscape, jets, rules, tmp_path):
    network, data = jets
    path = rules(rule("accuracy", "min = 0.6"), rule("hessian_trace", "max = 1e6"), rule("*_gauss_5", 'max = 0\nseverity = "should"'))
    done = hlscape("check", network, "--data", data, "--rules", path, *QUICK)
    assert done.code == 0, done.out + done.err
    assert "GO: every rule that must pass does; not passed, of those that should: accuracy_gauss_5." in done.out
    assert done.out.splitlines()[-1].startswith("GO"), "the verdict is the last thing one sees"
    assert "Hessian trace" in done.out, "the card is shown as well"
    assert not (tmp_path / "hls_projects").exists()
    done = hlscape("check", network, "--data", data, "--rules", path, "--json", *QUICK)
    document = json.loads(done.out)
    assert (document["verdict"], document["failures"]) == ("go", [])
    assert {line["metric"]: line["status"] for line in document["lines"]} == {
        "accuracy": "PASS", "hessian_trace": "PASS", "accuracy_gauss_5": "FAIL"
    }  # fmt: skip
    assert document["metrics"]["accuracy_flip_1"]["ci"]


def test_no_go(hlscape, jets, rules):
    network, data = jets
    accuracy = json.loads(hlscape("check", network, "--data", data, "--rules", rules(rule("accuracy", "min = 0")), "--json", *QUICK).out)
    value = accuracy["metrics"]["accuracy"]["value"]
    path = rules(
        rule("hessian_trace", "max = -1e6"), rule("accuracy", f"min = {value}"), rule("sharpness_mean_1", 'max = 0.1\nof = "loss"')
    )
    done = hlscape("check", network, "--data", data, "--rules", path, *QUICK)
    assert done.code == 1
    end = done.out[done.out.index("NO-GO:") :]
    assert "hessian_trace: failed" in end
    assert "accuracy: the limit is inside of the interval; measure more" in end
    assert "sharpness_mean_1: not measured" in end


def test_the_default_rules_on_a_regressor(hlscape, tmp_path):
    network = write_signed(tmp_path / "net.onnx")
    data = write_data(tmp_path / "net.npz", network, "values")
    done = hlscape("check", network, "--data", data, "--json", *QUICK)
    assert done.code in (0, 1), done.err
    lines = {line["metric"]: line for line in json.loads(done.out)["lines"]}
    metrics = json.loads(done.out)["metrics"]
    gain = metrics["mse_trivial"]["value"] - metrics["mse"]["value"]
    assert lines["mse_flip_1"]["limit"] == pytest.approx(0.05 * gain)
    assert lines["gate_twin_mismatches"]["status"] == "PASS"
    assert lines["*_salt_5"]["status"] == "NOT MEASURED"


def test_a_network_that_does_not_fit_its_data_is_no_go(hlscape, jets, tmp_path):
    network, data = jets
    with np.load(data) as arrays:
        np.savez(tmp_path / "wrong.npz", x=arrays["x"], y=np.random.default_rng(0).permutation(arrays["y"]))
    done = hlscape("check", network, "--data", "wrong.npz", *QUICK)
    assert done.code == 1
    assert "stage import failed: The network did not train" in done.out
    assert done.out.count("NOT MEASURED") >= 3


def test_without_data_it_still_describes(hlscape, jets):
    done = hlscape("check", jets[0])
    assert done.code == 0
    assert "can be lowered bit for bit" in done.out


def test_requests_that_make_no_sense(hlscape, jets, rules, tmp_path):
    network, data = jets
    hlscape("check", network, "--rules", "my.toml").refused("Give --data FILE as well")
    hlscape("check", network, "--data", data, "--rules", "gone.toml").refused("gone.toml", "no such file")
    hlscape("check", network, "--data", data, "--rules", rules(rule("accuracy", "mix = 1"))).refused("line 1, rule 1, mix", "'min'")
    hlscape("check", network, "--data", "gone.npz").refused("gone.npz", "no such file")
    hlscape("check", "gone.onnx", "--data", data).refused("gone.onnx", "no such file")
    hlscape("check", network, "--data", data, "--set", "seed=1").refused("no effect on an imported network")
