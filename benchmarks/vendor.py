"""The open back end beside Vivado, on networks whose weights and Vivado reports are public: ``python -m benchmarks.vendor REPORTS``.

Each network is lowered with its own weights and words, and mapped for the same family. The folder of reports also gives the ratio of
Vivado's figures to those of high-level synthesis over all its pairs. docs/vivado.md has the result.
"""

import argparse
import csv
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.__main__ import say
from benchmarks.estimate_data import mapped
from benchmarks.hls4ml_sums import evaluate, exact_sums
from benchmarks.vendor_networks import NETWORKS, Network, one_position
from flow.core.errors import FlowError, MissingInput
from flow.rtl.graph import Graph
from flow.rtl.lower import lower
from flow.rtl.verilog import write
from flow.vendor.firmware import read_vectors
from flow.vendor.reports import read_csynth, read_utilization

RANDOM = 1000  # samples of the comparison of sums


def primitives(report: Path) -> dict[str, int]:
    """Read the table of primitives of ``report_utilization``."""
    rows = re.findall(r"^\| ([A-Z][A-Z0-9]+) +\| +(\d+) \| +[A-Z]", report.read_text(), re.MULTILINE)
    return {name: int(count) for name, count in rows}


def theirs(folder: Path) -> dict[str, Mapping[str, float]]:
    """Return the figures of HLS and of Vivado by id; what a report does not have is absent."""
    csynth = read_csynth(next(folder.rglob("myproject_csynth.xml")))
    vivado, cells = read_utilization(folder / "vivado_synth.rpt"), primitives(folder / "vivado_synth.rpt")
    carries = cells.get("CARRY4", 0) + 2 * cells.get("CARRY8", 0)
    hls = {"lut6_packed": csynth.used.lut, "ff": csynth.used.ff, "dsp": csynth.used.dsp}
    found = {
        "lut6_packed": vivado.lut.used if vivado.lut else None, "lut": sum(n for name, n in cells.items() if re.fullmatch(r"LUT\d", name)),
        "ff": vivado.ff.used if vivado.ff else None, "dsp": vivado.dsp.used if vivado.dsp else None, "carry": carries,
    }  # fmt: skip
    return {
        f"HLS {csynth.version}": {k: float(v) for k, v in hls.items() if v is not None},
        f"Vivado {vivado.version}": {k: float(v) for k, v in found.items() if v is not None},
    }


def ours(graph: Graph, part: str, clock_ns: float, folder: Path) -> dict[str, float]:
    """Lower and map; what is finished in the folder is not done again."""
    file = folder / "counts.json"
    if not file.is_file():
        manifest = write(lower(graph), graph, folder / "verilog", part=part, clock_ns=clock_ns, logic_per_stage=None)
        report = mapped(folder / "verilog", part, folder / "synth")
        file.write_text(json.dumps({"tool": report.tool, "latency_cycles": manifest.latency, **asdict(report.total)}))
    counts = json.loads(file.read_text())
    return {k: float(counts[k]) for k in ("lut", "lut6_packed", "ff", "dsp", "carry", "latency_cycles") if counts.get(k) is not None}


def compare(network: Network, reports: Path, work: Path) -> list[str]:
    """Return the lines about one network."""
    graph = network.graph(reports)
    exact, cut = exact_sums(graph)
    folder = work / re.sub(r"\W+", "_", network.title)
    columns: dict[str, Mapping[str, float]] = {"open": ours(exact, network.part, network.clock_ns, _made(folder))}
    if network is NETWORKS[0]:
        pieces = [ours(g, network.part, network.clock_ns, _made(work / f"{folder.name}_{i}")) for i, g in enumerate(one_position(exact))]
        columns["open, one position"] = {k: sum(p[k] for p in pieces) for k in pieces[0] if k != "latency_cycles"}
    columns |= theirs(reports / network.folder)
    vivado = next(v for k, v in columns.items() if k.startswith("Vivado"))
    names = {"lut6_packed": "LUT6 sites", "lut": "LUT primitives", "ff": "flip-flops", "dsp": "DSP slices", "carry": "CARRY4 equivalents"}
    lines = [f"{network.title}, {network.part}", "", f"| | {' | '.join(columns)} | open / Vivado |", f"|---|{'---|' * (len(columns) + 1)}"]
    for key, name in names.items():
        cells = [f"{c[key]:,.0f}" if key in c else "–" for c in columns.values()]
        ratio = [f"{c[key] / vivado[key]:.2f}" for k, c in columns.items() if k.startswith("open") and vivado.get(key)]
        lines.append(f"| {name} | {' | '.join(cells)} | {', '.join(ratio) or '–'} |")
    return [*lines, "", network.note, *outputs(network, graph, exact, cut, reports), ""]


def outputs(network: Network, graph: Graph, exact: Graph, cut: Sequence[str], reports: Path) -> list[str]:
    """Say how our graph relates to the predictions beside the project and to the sums of its C++."""
    lines = [f"Sums are exact in our design; the C++ cuts products in {', '.join(cut) or 'no layer'}."]
    data, step = reports / network.folder / "tb_data", 2.0**-graph.output.type.fraction
    logic = lower(exact)
    if (data / "tb_input_features.dat").is_file():
        x = read_vectors(data / "tb_input_features.dat", int(np.prod(graph.port.shape)))
        y = read_vectors(data / "tb_output_predictions.dat", int(np.prod(graph.output.shape)))
        words, want = logic.predict(graph.port.type.quantize(x)), np.rint(y / step)
        far, wrong = np.abs(y / step - want).max(), int(np.sum(words / step != want))
        lines.append(f"tb_output_predictions.dat: {wrong} of {y.size} words differ (they are printed to {far:.0e} of a step).")
    port = graph.port
    codes = np.random.default_rng(0).integers(port.type.range[0], port.type.range[1] + 1, (RANDOM, *port.shape))
    x = np.ldexp(codes.astype(float), -port.type.fraction)
    apart = np.abs(logic.predict(x) - evaluate(graph, x)) / step
    lines.append(
        f"Exact sums against those of the C++, {RANDOM} random inputs: {np.mean(apart > 0):.0%} of the words differ, median "
        f"{np.median(apart):.0f} steps, 95 % up to {np.quantile(apart, 0.95):.0f}."
    )
    return lines


def ratios(manifest: Path) -> list[str]:
    """Return the table of Vivado over HLS.

    Networks of one repository resemble each other, so the repositories count as the independent observations: the centre is the mean of
    their means of the logarithm, the spread that of all pairs around it, and Student's t has as many degrees of freedom as repositories
    less one.
    """
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["vs_LUT"]]
    lines = [
        "| Vivado after synthesis / HLS | pairs | repositories | median | lowest | highest | 95 % for one more network |",
        f"|{'---|' * 7}",
    ]
    for key in ("LUT", "FF", "DSP"):
        groups: dict[str, list[float]] = {}
        for row in rows:
            if float(row[f"hls_{key}"]) > 0 and float(row[f"vs_{key}"]) > 0:
                groups.setdefault(row["repo"], []).append(float(np.log(float(row[f"vs_{key}"]) / float(row[f"hls_{key}"]))))
        low, high = interval(groups) if len(groups) > 1 else (None, None)
        every = np.exp([v for values in groups.values() for v in values])
        numbers = " | ".join(f"{v:.2f}" for v in (np.median(every), every.min(), every.max()))
        lines.append(f"| {key} | {len(every)} | {len(groups)} | {numbers} | {'–' if low is None else f'{low:.2f} to {high:.1f}'} |")
    return lines


def interval(groups: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """Return the 95 % prediction interval of a ratio from logarithms by repository; see `ratios`."""
    centre = float(np.mean([np.mean(values) for values in groups.values()]))
    every = np.concatenate([np.asarray(values) for values in groups.values()])
    spread = float(np.sqrt(np.sum((every - centre) ** 2) / (len(every) - 1)))
    half = float(stats.t.ppf(0.975, len(groups) - 1)) * spread * (1 + 1 / len(groups)) ** 0.5
    return float(np.exp(centre - half)), float(np.exp(centre + half))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vendor", description=__doc__)
    parser.add_argument("reports", type=Path, help="folder with manifest.csv and the projects it names")
    parser.add_argument("--work", type=Path, default=Path("build/vendor"), help="Verilog and netlists; what is there is not done again")
    args = parser.parse_args(argv)
    try:
        if not (args.reports / "manifest.csv").is_file():
            raise MissingInput(f"{args.reports}/manifest.csv: there is no such file. Give a folder of reports.")
        for network in NETWORKS:
            for line in compare(network, args.reports, args.work):
                say(line)
        for line in ratios(args.reports / "manifest.csv"):
            say(line)
    except FlowError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
