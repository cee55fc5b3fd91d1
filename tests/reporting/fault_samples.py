"""Synthetic figures and arrays of faults, upsets and protection: with what the section on robustness is tested and looked at."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from report_samples import UNIT, point

from flow.core.metric import Metric
from flow.reporting.result import PointResult

CURVES = {  # words before the strength, unit behind it, strengths from weak to strong, harm at the strongest
    "gauss": ("Gaussian noise", "%", (5, 10, 20, 30), 2.4), "salt": ("salt-and-pepper noise", "%", (5, 10, 20, 30), 2.9),
    "uniform": ("uniform noise", "%", (5, 10, 20, 30), 0.08), "flip": ("", "bit flips", (1, 5, 20), 0.9),
    "gauss_snr": ("Gaussian noise, signal-to-noise ratio", "dB", (30, 20, 10), 1.4),
    "gauss_detector": ("Gaussian noise in detector units", "ADC counts", (1, 2, 4), 0.5),
    "dead_channels": ("dead channels", "%", (1, 5, 10), 0.8), "hot_channels": ("hot channels", "%", (1, 5, 10), 3.2),
    "gain": ("gain drift", "%", (5, 10, 20), 0.02), "resolution": ("lost bits of resolution", "bits", (1, 2, 3), 0.3),
    "measured_noise": ("measured noise", "times", (0.5, 1, 2), 0.4), "fgsm": ("worst-case inputs, one gradient step", "%", (1, 2, 5), 1.2),
    "pgd": ("worst-case inputs, gradient ascent", "%", (1, 2, 5), 1.9),
    "ranked_flip_taylor": ("", "bit flips ranked by taylor", (1, 5, 20), 2.8),
    "ranked_flip_exact": ("", "bit flips ranked by exact", (1, 5, 20), 3.1),
    "multi_bit_upset": ("upsets of neighbouring cells", "cells", (2, 4), 0.3),
    "stuck_at_0": ("bits stuck at 0,", "bits", (1, 10, 100), 1.1), "stuck_at_1": ("bits stuck at 1,", "bits", (1, 10, 100), 1.6),
}  # fmt: skip
PLACES = {
    "bram_28nm_sea_level": ("block RAM of a 28 nm FPGA at sea level", 1.2e-13),
    "cram_hl_lhc": ("configuration memory of a 28 nm FPGA, ATLAS muon end-cap at the HL-LHC", 3.1e-9),
    "iter_bioshield": ("configuration memory of a 28 nm FPGA outside the bioshield of ITER, at most", 4.4e-6),
}
TOLERANCE = 0.1
LAYERS = (
    ("conv_1", "weight", (8, 1, 3, 3), 6),
    ("conv_1", "bias", (8,), 16),
    ("dense", "weight", (16, 128), 6),
    ("dense", "bias", (16,), 16),
)


def degradations(bits: int, clean: float, rng: np.random.Generator) -> dict[str, Metric]:
    """Make curves that bend upwards, with the figures that a whole curve has."""
    found = {}
    for kind, (words, unit, strengths, most) in CURVES.items():
        place = np.linspace(1, 0.15, len(strengths))[::-1] ** 1.4
        values = most * place * (0.5 + bits / 12) * (1 + 0.05 * rng.standard_normal())
        for level, value in zip(strengths, values, strict=True):
            title = f"EMD degradation, {words + ' ' if words else ''}{level:g} {unit}"
            half = 0.02 + 0.06 * value
            found[f"emd_{kind}_{level:g}"] = Metric(
                float(value), UNIT, direction="lower", ci=(value - half, value + half), source="1000 samples, 5 draws", title=title
            )
        area = float(values.mean())
        found[f"emd_{kind}_area"] = Metric(area, UNIT, direction="lower", ci=(0.9 * area, 1.1 * area), source="1000 samples", title="area")
        if values[-1] > TOLERANCE * clean:
            at = float(
                np.interp(
                    TOLERANCE * clean, [0, *values], [2 * strengths[0] - strengths[1] if strengths[1] < strengths[0] else 0, *strengths]
                )
            )
            found[f"emd_{kind}_critical"] = Metric(at, unit, direction="higher", ci=(0.9 * at, 1.1 * at), source="1000 samples")
    return found


def bit_map(bits: int, rng: np.random.Generator, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Make the arrays of a map: high bits hurt more, some weights matter and others do not."""
    harm, word, place, tensor, first = [], [], [], [], 0
    layers = [(layer, role, shape, bits if role == "weight" else width) for layer, role, shape, width in LAYERS]
    for k, (_, _, shape, width) in enumerate(layers):
        words = int(np.prod(shape))
        weight = rng.gamma(0.5, 1.0, (words, 1)) * (rng.random((words, 1)) > 0.2)
        harm.append((scale * 0.3 * weight * 2.0 ** (np.arange(width) - width) - 0.0005 * rng.random((words, width))).ravel())
        word.append(np.repeat(first + np.arange(words), width))
        place.append(np.tile(np.arange(width), words))
        tensor.append(np.full(words * width, k))
        first += words
    shapes = np.zeros((len(layers), 4), np.int64)
    for row, (_, _, shape, _) in zip(shapes, layers, strict=True):
        row[: len(shape)] = shape
    together = {"degradation": harm, "word": word, "place": place, "tensor": tensor}
    arrays: dict[str, np.ndarray] = {name: np.concatenate(parts) for name, parts in together.items()}
    arrays |= {
        "changed": (np.abs(arrays["degradation"]) > 0.0004).astype(float), "names": np.array([f"w{k}" for k in range(len(layers))]),
        "layers": np.array([layer[0] for layer in layers]), "roles": np.array([layer[1] for layer in layers]),
        "widths": np.array([layer[3] for layer in layers]), "signed": np.ones(len(layers), bool), "shapes": shapes,
        "threshold": np.array(TOLERANCE * 1.2),
    }  # fmt: skip
    return {f"single_bit_map_{name}": values for name, values in arrays.items()}


def map_metrics(arrays: dict[str, np.ndarray]) -> dict[str, Metric]:
    harm, threshold = arrays["single_bit_map_degradation"], float(arrays["single_bit_map_threshold"])
    source = f"all {len(harm)} bits, 64 samples"
    share = 100 * float((harm >= threshold).mean())
    mean, worst, name = float(harm.mean()), float(harm.max()), "emd_single_bit_map_1"
    found = {
        name: Metric(
            mean, UNIT, direction="lower", ci=(0.9 * mean, 1.1 * mean), source=source, title="EMD degradation, one bit, mean of all"
        ),
        f"{name}_worst": Metric(
            worst, UNIT, direction="lower", ci=(worst, 1.1 * worst), source=source, title="EMD degradation, the worst bit"
        ),
        f"{name}_visible": Metric(share, "%", direction="lower", ci=(0.9 * share, 1.1 * share), source=source, title="Visible bits"),
        f"{name}_visible_layer_Conv_0": Metric(
            share, "%", direction="lower", ci=(0, 100), source=source, title="Visible bits, layer Conv_0"
        ),
    }
    for place, (words, rate) in PLACES.items() if share else ():
        days = 1 / (rate * share / 100 * len(harm))
        found[f"upset_days_to_visible_{place}"] = Metric(
            days, "days", "estimate", "higher", (0.8 * days, 1.2 * days),
            f"{rate:.3g} upsets per bit and day (a table, 2020); {round(share / 100 * len(harm))} of {len(harm)} bits; {source}",
            title=f"Expected time until one upset costs 10 % of EMD, {words}",
        )  # fmt: skip
    return found


def registers() -> tuple[dict[str, Metric], dict[str, np.ndarray]]:
    names = ["input", *(f"stage {k}" for k in range(1, 5)), "output"]
    shares = np.array([0.01, 0.08, 0.12, 0.21, 0.3, 0.34])
    arrays = {
        "upsets_names": np.array(names), "upsets_bits": np.array([384, 720, 512, 410, 256, 144]), "upsets_draws": np.full(6, 500),
        "upsets_changed": shares * 2, "upsets_visible": shares, "upsets_degradation": shares * 0.4,
    }  # fmt: skip
    source = "3000 draws of 2426 register bits and 1000 samples; the flip is there for a whole clock cycle"
    metrics = {
        "gate_upsets_mismatches": Metric(0.0, "samples", direction="lower"),
        "register_bits": Metric(2426, "bits", direction="lower", title="Bits of pipeline registers"),
        "emd_register_flip_1": Metric(
            0.07, UNIT, direction="lower", ci=(0.06, 0.08), source=source, title="EMD degradation of a hit sample"
        ),
        "register_flip_visible_percent": Metric(
            17.0, "%", direction="lower", ci=(15.5, 18.6), source=source, title="Flips of register bits that cost a sample 10 % of EMD"
        ),
    }
    for place, (words, rate) in PLACES.items():
        days = 1 / (rate * 0.17 * 2426)
        metrics[f"register_days_to_visible_{place}"] = Metric(
            days, "days", "estimate", "higher", (0.9 * days, 1.1 * days),
            f"{rate:.3g} upsets per bit and day (a table, 2020); 412 of 2426 bits; {source}",
            title=f"Expected time until an upset of a register costs a sample 10 % of EMD, {words}",
        )  # fmt: skip
    return metrics, arrays


def hardened(harm: np.ndarray, threshold: float) -> tuple[dict[str, Metric], dict[str, np.ndarray]]:
    """Protect the worst bits, random ones, or the highest ones."""
    shares, order = np.array([0.05, 0.1, 0.25, 0.5, 1.0]), np.sort(harm)[::-1]
    seen = order >= threshold
    left = np.array([[100 * seen[round(s * len(harm)) :].sum(), order[round(s * len(harm)) :].sum()] for s in shares]) / len(harm)
    arrays = {}
    for method, lut, ff in (("tmr", 1.0, 2.0), ("ecc", 0.7, 0.45)):
        bare = 100 * seen.mean(), harm.mean()
        arrays |= {
            f"{method}_share": shares, f"{method}_lut": lut * shares * len(harm), f"{method}_ff": ff * shares * len(harm),
            f"{method}_lut6_packed": lut * shares * len(harm), f"{method}_visible": left[:, 0], f"{method}_degradation": left[:, 1],
            f"{method}_visible_random": bare[0] * (1 - shares), f"{method}_degradation_random": bare[1] * (1 - shares),
            f"{method}_visible_msb": bare[0] * (1 - shares) ** 3, f"{method}_degradation_msb": bare[1] * (1 - shares) ** 3,
        }  # fmt: skip
    single = {
        "network_lut": 10000, "network_ff": 3200, "bare_lut": 40, "bare_ff": len(harm), "bare_visible": 100 * seen.mean(),
        "bare_degradation": harm.mean(), "registers_lut": 12400, "registers_ff": 9600, "clip_lut": 10600, "clip_ff": 3230,
        "clip_visible": 60 * seen.mean(), "clip_degradation": 0.7 * harm.mean(),
    }  # fmt: skip
    arrays |= {name: np.array([float(value)]) for name, value in single.items()}
    metrics = {
        f"harden_tmr_lut_{100 * share:g}": Metric(lut, "LUT", "mapped", "lower", None, "yosys 0.70", "part", f"LUT of {100 * share:g} %")
        for share, lut in zip(shares, arrays["tmr_lut"], strict=True)
    }
    return metrics, {f"harden_{name}": values for name, values in arrays.items()}


def faulty(folder: Path, bits: int = 6, regularizer: str = "", seed: int = 0, scale: float = 1.0, harden: bool = True) -> PointResult:
    """Make a point of `report_samples` that was measured with everything; its arrays are written into the folder."""
    base = point(bits, regularizer, seed)
    rng = np.random.default_rng([bits, len(regularizer), seed])
    clean = base.metrics["emd"].value
    arrays = bit_map(bits, rng, scale)
    metrics = {name: metric for name, metric in base.metrics.items() if not name.startswith(("emd_gauss", "emd_salt", "emd_flip"))}
    metrics |= degradations(bits, clean, rng) | map_metrics(arrays)
    if harden:
        more = (registers(), hardened(arrays["single_bit_map_degradation"], float(arrays["single_bit_map_threshold"])))
        for found, several in more:
            metrics |= found
            arrays |= several
    file = folder / f"{base.name}.npz"
    with file.open("wb") as stream:
        np.savez(stream, **arrays)
    robustness = {**base.config["robustness"], "tolerance": TOLERANCE}
    robustness["perturbations"] = [*robustness["perturbations"], "single_bit_map"]
    more_config = {"registers": {"flips": 3000}, "protection": {"methods": ["tmr", "ecc", "registers", "clip"]}} if harden else {}
    return replace(base, metrics=metrics, config={**base.config, "robustness": robustness, **more_config}, shapes=(file,))
