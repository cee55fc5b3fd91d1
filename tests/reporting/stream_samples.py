"""Synthetic results of streaming networks: layers, and a study whose points differ in frame rate and width."""

import json
import tempfile
from pathlib import Path

import numpy as np
from report_samples import point

from flow.core.metric import Metric
from flow.reporting.layers import collect

PART = "xcku035-fbva676-2-e"
NETWORK = (  # name, kind, output, words of a window, pixels that come in
    ("Conv2D_Conv_0_zeros", "zeros around", (34, 34, 1), 0, 1156), ("Conv2D_Conv_0", "convolution 3 x 3", (32, 32, 8), 9, 1156),
    ("Pooling2D_MaxPool_0", "maximum 2 x 2", (16, 16, 8), 0, 1024), ("Conv2D_Conv_1", "convolution 3 x 3", (14, 14, 16), 72, 256),
    ("Pooling2D_MaxPool_1", "maximum 2 x 2", (7, 7, 16), 0, 196), ("Conv2D_Conv_2", "convolution 3 x 3", (5, 5, 16), 144, 49),
    ("Reshape_0", "flatten", (1, 1, 400), 0, 25), ("Dense_MatMul_0", "dense", (1, 1, 24), 400, 1),
    ("Dense_MatMul_1", "dense", (1, 1, 2), 24, 1),
)  # fmt: skip
BUDGETS = {195312.5: 1156, 120000.0: 1666, 30000.0: 6666}  # cycles of 5 ns, by frames/s


def factor(budget, output, words, pixels):
    windows = output[0] * output[1]
    return min(words, 1 + (budget - pixels) // windows) if words else 1


def files(folder, budget, bits, mapped=True):
    """Write what the stages rtl and synth leave; return folder of the Verilog and report."""
    layers, chosen, counts = [], {}, {"network_axis": {"lut": 118, "ff": 96, "srl": 0, "dsp": 0, "bram": 0.0}}
    for name, kind, output, words, pixels in NETWORK:
        reuse = max(1, factor(budget, output, words, pixels))
        cycles = pixels + output[0] * output[1] * (reuse - 1)
        lanes = -(-words // reuse) * output[2] if reuse > 1 else 0
        depth = 3 if reuse > 1 else 0
        layers.append({
            "name": name, "layer": name, "kind": kind, "output": list(output), "bits": bits, "reuse": reuse, "cycles": cycles,
            "multipliers": lanes, "latency": 4 if words else 0, "queue": [depth],
        })  # fmt: skip
        srl = depth * bits * output[2] // 2 + (32 * output[2] if kind.startswith("maximum") else 0)
        lut = words * output[2] * bits / (reuse**0.8) * 1.1 + 40 * words**0.5 + 60 + srl
        why = f"{name}: reuse factor {reuse}; {cycles:,} of {budget:,} cycles; about {lut:,.0f} LUT6 ({lut / 1.3:,.0f} to {lut * 1.3:,.0f})"
        why += f", unrolled about {words * output[2] * bits * 1.2:,.0f} LUT6" if reuse > 1 else ""
        why = why if words else f"{name}: no weights; {cycles:,} of {budget:,} cycles"
        chosen[name] = {"reuse": reuse, "cycles": cycles, "limit": max(1, words), "why": why}
        dsp, bram = lanes if bits > 6 else 0, 0.5 * (pixels > 1100)
        counts[name] = {"lut": round(lut), "ff": round(lut * 0.7), "srl": srl, "dsp": dsp, "bram": bram}
    total = {key: sum(c[key] for c in counts.values()) for key in ("lut", "ff", "srl", "dsp", "bram")}
    verilog = folder / "verilog"
    verilog.mkdir()
    (verilog / "layers.json").write_text(json.dumps(layers))
    (verilog / "reuse.json").write_text(json.dumps({"budget_cycles": budget, "elements": chosen}))
    report = {"tool": "yosys 0.70", "part": PART, "total": total, "layers": counts}
    (folder / "synth_report").write_text(json.dumps(report))
    return verilog, folder / "synth_report" if mapped else None


def layers(budget, bits):
    with tempfile.TemporaryDirectory() as folder:
        return collect(*files(Path(folder), budget, bits))


def stream_point(rate=120000.0, bits=6, seed=0, **change):
    """Make a point that has fewer look-up tables and more latency the slower a frame may come."""
    document, budget = layers(BUDGETS[rate], bits), BUDGETS[rate]
    rng = np.random.default_rng([bits, seed])
    total, reuse = document["total"], max(layer["reuse"] for layer in document["layers"][:-2])
    latency = 1100 + 3 * reuse + int(rng.integers(0, 9))

    def mapped(name, unit, title):
        return Metric(float(total[name]), unit, "mapped", "lower", None, "yosys 0.70", PART, title)

    def counted(value, unit, title, kind="measured", direction="lower", source="verilator 5.48"):
        return Metric(float(value), unit, kind, direction, None, source, "", title)

    lanes = sum(e["multipliers"] for e in document["layers"])
    base, every, factors = point(bits, seed=seed), 5.0 * document["busiest"], "reuse factors of the layers"
    metrics = base.metrics | {
        "lut": mapped("lut", "LUT", "Look-up tables"), "ff": mapped("ff", "FF", "Flip-flops"), "dsp": mapped("dsp", "DSP", "DSP slices"),
        "bram": mapped("bram", "BRAM36", "Block RAMs of 36 kbit"),
        "latency_cycles": counted(latency, "cycles", "Latency, first pixel of a frame to its result"),
        "latency_ns": counted(latency * 5, "ns", "Latency at the target clock (timing not verified)", "estimate"),
        "ii_cycles": counted(document["busiest"], "cycles", "Initiation interval, frame to frame"),
        "frames_per_s": counted(1e9 / every, "1/s", "Frames per second at the target clock (timing not verified)", "estimate", "higher"),
        "reuse_factor": counted(reuse, "cycles", "Reuse factor of the layer with the most products", direction="none", source=factors),
        "multipliers": counted(lanes, "multipliers", "Multipliers that are used again", source=factors),
    }  # fmt: skip
    config = base.config | {"model": "plasma", "hardware": {"io": "stream", "part": PART, "clock_ns": 5.0, "frame_rate_hz": rate}}
    fields = {"name": f"plasma-{budget}-w{bits}-s{seed}", "config": config | {"name": "p"}, "metrics": metrics, "layers": document}
    return point(bits, seed=seed, **(fields | change))


def stream_study():
    return [stream_point(rate, bits, seed) for rate in BUDGETS for bits in (4, 6, 8) for seed in (0, 1)]
