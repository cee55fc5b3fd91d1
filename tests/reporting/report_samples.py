"""Synthetic results of a study: what a report is tested and looked at with."""

from typing import Any

import numpy as np

from flow.core.metric import Metric
from flow.reporting.result import PointResult

PART = "xcku115-flvb2104-2-i"
UNIT = "TC pitch / 2"


def config(name: str, bits: int, seed: int, regularizers: dict[str, float]) -> dict[str, Any]:
    return {
        "model": "models/econ_t", "name": name, "seed": seed, "regularizers": regularizers,
        "network": {
            "size": "baseline", "weight_bits": bits, "activation_bits": None, "input_bits": 8, "latent_bits": 9, "bias_bits": 16,
            "rounding": "ROUND",
        },
        "data": {"path": None, "samples": 24000, "seed": 42, "split": [0.8, 0.1, 0.1]},
        "train": {"pretrain_epochs": 25, "epochs": 25, "batch": 256, "learning_rate": 0.0015, "patience": 8},
        "hardware": {"backend": "open", "part": PART, "clock_ns": 5.0, "logic_per_stage": 5.0},
        "gate": {"samples": 4096, "rtl_samples": 256},
        "landscape": {"metrics": ["gradient_norm", "hessian_trace", "top_eigenvalue"], "samples": 1024, "probes": 64},
        "robustness": {
            "perturbations": ["bit_flip", "gauss", "salt_pepper"], "samples": 1000, "noise_percent": [5.0, 10.0, 20.0],
            "noise_draws": 5, "flips": [1, 5, 20], "trials": 200, "flip_samples": 100,
        },
    }  # fmt: skip


def score(value: float, half: float, title: str, unit: str = UNIT, source: str = "bootstrap over test samples, 2000 draws") -> Metric:
    return Metric(value, unit, "measured", "lower", (value - half, value + half), source, "", title)


def within(value: float, relative: float, title: str, source: str, direction: str = "lower") -> Metric:
    ends = (value * (1 - relative), value * (1 + relative))
    return Metric(value, "", "measured", direction, ends, source, "", title)  # type: ignore[arg-type]


def metrics(bits: int, flat: float, rng: np.random.Generator) -> dict[str, Metric]:
    """Make numbers that behave like those of a small encoder: more bits cost more, score better and are sharper."""
    wiggle = 1 + 0.05 * rng.standard_normal()
    lut = float(round(900 * bits**1.35 * wiggle))
    cycles = float(4 + bits // 2 + int(rng.integers(0, 2)))
    emd = 1.05 + 1.6 / bits**1.5 * wiggle + 0.05 * flat
    trace = 14 * bits**1.2 * (1.6 - flat) * wiggle
    found = {
        "lut": Metric(lut, "LUT", "mapped", "lower", None, "yosys 0.70", PART, "LUT"),
        "ff": Metric(round(lut * 0.31), "FF", "mapped", "lower", None, "yosys 0.70", PART, "FF"),
        "dsp": Metric(0.0, "DSP", "mapped", "lower", None, "yosys 0.70", PART, "DSP"),
        "carry": Metric(round(lut * 0.08), "CARRY8", "mapped", "lower", None, "yosys 0.70", PART, "CARRY"),
        "bram": Metric(0.0, "BRAM36", "mapped", "lower", None, "yosys 0.70", PART, "BRAM"),
        "lut_percent": Metric(lut / 663360 * 100, "%", "mapped", "lower", None, "yosys 0.70", PART, "LUT of part"),
        "ff_percent": Metric(lut * 0.31 / 1326720 * 100, "%", "mapped", "lower", None, "yosys 0.70", PART, "FF of part"),
        "dsp_percent": Metric(0.0, "%", "mapped", "lower", None, "yosys 0.70", PART, "DSP of part"),
        "latency_cycles": Metric(cycles, "cycles", "measured", "lower", None, "verilator 5.40", "", "Latency, input to output register"),
        "ii_cycles": Metric(1.0, "cycles", "measured", "lower", None, "verilator 5.40", "", "Initiation interval"),
        "latency_ns": Metric(
            cycles * 5.0, "ns", "estimate", "lower", None, "verilator 5.40", "", "Latency at the target clock (timing not verified)"
        ),
        "emd": score(emd, 0.021 * wiggle, "EMD"),
        "emd_trivial": score(3.91, 0.05, "EMD of the mean image"),
        "cosine_median": within(0.94 - 0.4 / bits**2, 0.01, "Cosine similarity, median", "bootstrap", "higher"),
        "cosine_shuffled": Metric(0.21, "", "measured", "none", None, "shuffled pairs", "", "Cosine similarity, shuffled"),
        "hessian_trace": within(trace, 0.07, "Hessian trace", "Hutchinson, 64 probes"),
        "hessian_trace_chip": within(trace * 0.4, 0.1, "Hessian trace, on-chip part", "Hutchinson, 64 probes"),
        "top_eigenvalue": within(trace * 0.21 * wiggle, 0.1, "Top Hessian eigenvalue", "Lanczos"),
        "gradient_norm_mean": within(0.031 * bits * wiggle, 0.06, "Gradient norm, mean", "1024 samples"),
        "samples_test": Metric(2400.0, "samples", title="test samples"), "epochs": Metric(25.0, "epochs", title="epochs trained"),
        "gate_twin_mismatches": Metric(0.0), "gate_twin_samples": Metric(4096.0),
        "gate_csim_mismatches": Metric(0.0), "gate_csim_samples": Metric(4096.0),
    }  # fmt: skip
    for kind, words, strengths, factor in (
        ("gauss", "Gaussian noise {:g} %", (5, 10, 20), 0.035),
        ("salt", "salt and pepper {:g} %", (5, 10, 20), 0.05),
        ("flip", "{:g} bit flips", (1, 5, 20), 0.06),
    ):
        for strength in strengths:
            worse = factor * strength * (0.4 + bits / 10) * (1.2 - 0.5 * flat) * (1 + 0.06 * rng.standard_normal())
            found[f"emd_{kind}_{strength}"] = score(worse, 0.005 + 0.08 * worse, "EMD degradation, " + words.format(strength))
            if kind == "flip":
                found[f"emd_{kind}_{strength}_p95"] = score(
                    2.4 * worse, 0.2 * worse, "EMD degradation, " + words.format(strength) + ", 95 % quantile"
                )
    return found


def curves(bits: int) -> dict[str, Any]:
    """Make learning curves: a loss that falls by decades in float, then a little more with quantizers."""

    def training(start: float, end: float, epochs: int) -> dict[str, Any]:
        loss = [end + (start - end) * 0.4**epoch for epoch in range(epochs + 1)]
        return {"train": loss[1:], "validation": [1.1 * v for v in loss], "score": [1 + 10 * v for v in loss], "best": epochs - 1}

    return {"float": training(0.3, 0.012, 12), "quantized": training(0.012 + 0.05 / bits**2, 0.01, 8)}


def point(bits: int = 6, regularizer: str = "", seed: int = 0, **change: Any) -> PointResult:
    strength = {"jacobian": 0.01, "orthogonality": 0.0001}
    flat = {"": 0.0, "jacobian": 0.9, "orthogonality": 0.5}[regularizer]
    name = f"econ-w{bits}-{regularizer or 'plain'}-s{seed}"
    rng = np.random.default_rng([bits, seed, len(regularizer)])
    levels = {level: {"mismatches": 0, "samples": n} for level, n in (("twin", 4096), ("csim", 4096), ("alkaid", 4096), ("rtl", 256))}
    fields: dict[str, Any] = {
        "name": name, "status": "ok", "config": config(name, bits, seed, {regularizer: strength[regularizer]} if regularizer else {}),
        "metrics": metrics(bits, flat, rng),
        "gate": {"mismatches": 0, "samples": 4096, "levels": levels},
        "stages": {
            stage: {"status": "ok", "key": f"{k:02x}" * 32, "artifacts": {f"{stage}.npz": f"{k + 17:02x}" * 32}}
            for k, stage in enumerate(("data", "train", "export", "convert", "csim", "rtl", "rtlsim", "synth", "landscape", "robustness"))
        },
        "versions": {"yosys": "0.70", "verilator": "5.40", "hls4ml": "1.3.0", "brevitas": "0.13.4", "torch": "2.13.0", "alkaid": "0.8.2"},
        "reproduce": f"hlscape run models/econ_t/point.toml --set network.weight_bits={bits} --set seed={seed}",
        "notes": {"samples": 24000, "test samples": 2400, "empty modules dropped": 12, "mean charge of a cell": 0.0208},
        "curves": curves(bits),
    }  # fmt: skip
    return PointResult(**{**fields, **change})


def failed() -> PointResult:
    kept = {key: metric for key, metric in point(7).metrics.items() if "hessian" in key or key.startswith("emd")}
    message = (
        "csim differs from the twin in 12 of 4096 samples; the first layer that differs is encoder.conv\nlog: /tmp/store/csim/ab12/log.txt"
    )
    return point(
        7, name="econ-w7-plain-s0", status="failed", metrics=kept,
gate={"mismatches": 12, "samples": 4096, "levels": {k: {"mismatches": n, "samples": 4096} for k, n in (("twin", 0), ("csim", 12))}},
        failures=[{"stage": "csim", "error": "MismatchError", "message": message}],
    )  # fmt: skip


def untrained() -> PointResult:
    flat = point(2).metrics
    low = {key: metric for key, metric in flat.items() if key.startswith("emd")} | {"lut": flat["lut"]}
    message = "EMD 3.905 is not below 95 % of 3.910, which the mean image reaches. Train longer or with more bits."
    return point(
        2,
        name="econ-w2-plain-s0",
        status="untrained",
        metrics=low,
        gate=None,
        failures=[{"stage": "score", "error": "NotTrained", "message": message}],
    )


def study() -> list[PointResult]:
    """Ten points that are ranked, one that failed, one that is untrained."""
    good = [point(bits, reg) for bits in (3, 4, 5, 6, 8) for reg in ("", "jacobian")]
    return [*good, failed(), untrained()]
