"""The network with its pipeline registers triplicated: exact, what it costs, and what upsets of its registers do."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow import gate
from flow.core.errors import MismatchError
from flow.core.stage import Job
from flow.protection.folder import save
from flow.protection.mapping import cost, map_design, read_netlist
from flow.protection.registers import delay, triplicate
from flow.protection.upsets import Upsets, lanes, outputs, unpack
from flow.protection.worth import share
from flow.rtl.ports import Manifest
from flow.synth._plan import Counts

UPSETS = 1024
Records = dict[str, NDArray[Any]]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Struck:
    """Experiments with one upset each.

    Attributes:
        register: the bit of state that was hit (E,).
        changed: whether any output bit of any sample was another one than without (E,).
    """

    register: NDArray[np.int64]
    changed: NDArray[np.bool_]


def strike(circuit: Upsets, manifest: Manifest, x: Values, count: int, rng: np.random.Generator) -> Struck:
    """Upset one register in each of many streams of samples, when all of the pipeline is filled.

    Args:
        circuit: of the mapped network.
        manifest: of its Verilog.
        x: (N, ...) samples, channels last; they are used again and again.
        count: experiments.
        rng: draws the registers and the samples.
    """
    port, latency = manifest.input, manifest.latency
    cycles, at = 2 * latency + 2, latency
    packed = port.pack(x[rng.integers(0, len(x), cycles * count)])
    bits = np.unpackbits(packed, axis=1, bitorder="little")[:, : port.width].astype(bool)
    stimulus = lanes(bits.reshape(cycles, count, port.width).transpose(0, 2, 1))
    hit = rng.integers(0, len(circuit.registers), count)
    flips = np.zeros((len(circuit.registers), count), bool)
    flips[hit, np.arange(count)] = True
    start = np.zeros((len(circuit.registers), stimulus.shape[2]), np.uint64)
    name = manifest.output.name
    clean, struck = (circuit.go({port.name: stimulus}, start, upset)[0][name][at:] for upset in ({}, {at: lanes(flips)}))
    return Struck(hit, np.asarray(unpack(clean ^ struck, count).any(axis=(0, 1))))


def measure(job: Job, network: Counts, tool: str) -> Records:
    """Measure ``harden_registers_*`` and return what the report draws.

    Args:
        job: reads ``verilog``, ``netlist`` and ``vectors``; records the metrics.
        network: resources of the unprotected network.
        tool: who counted them.

    Raises:
        MismatchError: the hardened network computes something else, or an upset of a single register changes its output.
    """
    folder = job.input("verilog")
    manifest = Manifest.load(folder / "manifest.json")
    hard = triplicate({name: (folder / name).read_text() for name in manifest.sources})
    mapped = map_design(job, "registers", hard, manifest)
    bare, circuit = (Upsets(modules, manifest.top, manifest.clock) for modules in (read_netlist(job.input("netlist")), mapped.modules))
    job.progress(0.6, f"gate vectors and {UPSETS} upsets")
    vectors, expected = gate.read_vectors(job.input("vectors"))
    x = gate.channels_last(vectors)
    got = outputs(circuit, manifest, x, job.rng(0, "registers"))
    count, where = gate.mismatches(expected, got)
    if where is not None:
        raise gate.report("hardened registers", "twin", expected, got, manifest.output_layer, where, count)
    if len(circuit.registers) != 3 * len(bare.registers):
        raise MismatchError(
            f"protection: {len(bare.registers)} registers became {len(circuit.registers)}, which is not three times as many."
        )
    before, after = (strike(c, manifest, x, UPSETS, job.rng(job.point.data.seed, "upsets")) for c in (bare, circuit))
    if after.changed.any():
        instance = circuit.registers[int(after.register[after.changed][0])][1]
        raise MismatchError(f"protection: an upset of register {instance} of the hardened network changes its output.")
    save(job.output("hardened_rtl") / "registers", {**hard, "manifest.json": (folder / "manifest.json").read_text()})
    total = mapped.report.total
    return _record(job, network, total, before, after, manifest, tool)


def _record(
    job: Job, network: Counts, total: Counts, before: Struck, after: Struck, manifest: Manifest, tool: str
) -> Records:  # fmt: skip
    part, words = job.point.hardware.part, "all pipeline registers triplicated"
    records = cost(job, "registers", total, network, tool, words)
    source = f"{UPSETS} upsets of random registers of the mapped netlist, each with gate vectors in all of the pipeline"
    for key, struck, title in (("bare_", before, "without protection"), ("", after, words)):
        value, ci = share(struck.changed)
        job.measure(
            f"harden_registers_{key}changed", value, "%", direction="lower", ci=ci, source=source,
            title=f"Register upsets that change an output, {title}",
        )  # fmt: skip
        records[f"harden_registers_{key}changed"] = np.array([value])
    if manifest.stage_delays_ns:
        job.measure(
            "harden_registers_stage_delay_ns", max(manifest.stage_delays_ns) + delay(part), "ns", kind="estimate", direction="lower",
            source=manifest.delay_model, part=part, title=f"Slowest pipeline stage with its voter, {words}",
        )  # fmt: skip
    return records
