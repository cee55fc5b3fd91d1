"""Simulates a mapped network on gate vectors, and finds the module that is wrong when the outputs are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flow.core.errors import InvalidInput, MissingInput
from flow.core.stage import Job
from flow.core.tool import Tool
from flow.rtl.ports import Bytes, Manifest, Port
from flow.rtl.simulate import stream
from flow.synth._cells import Words
from flow.synth._circuit import Circuit, Trace
from flow.synth._netlist import Module, parse

BURST = 4  # samples in a row in each stream, one a clock cycle


@dataclass(frozen=True)
class Netlist:
    """A mapped design.

    Attributes:
        circuit: all of it.
        manifest: of the Verilog it was mapped from.
    """

    circuit: Circuit
    manifest: Manifest

    def simulate(self, x: NDArray[np.float64], rng: np.random.Generator) -> tuple[NDArray[np.float64], Trace]:
        """Feed samples in streams of a few, one a clock cycle, all streams at once.

        Args:
            x: (N, ...) inputs, channels last.
            rng: draws what registers hold before.

        Returns:
            (N, outputs) values, and what all nets did.

        Raises:
            InvalidInput: values that do not fit the port.
        """
        i, o, latency = self.manifest.input, self.manifest.output, self.manifest.latency
        count = -(-len(x) // BURST)
        rows = np.concatenate([x, np.repeat(x[-1:], count * BURST - len(x), axis=0)])
        words = _lanes(i.pack(rows).reshape(count, BURST, -1), i.width)
        idle = np.zeros((latency, *words.shape[1:]), np.uint64)
        trace = self.circuit.run(np.concatenate([words, idle]), rng, i.name)
        outputs = trace.port(self.circuit.outputs[o.name])[latency : latency + BURST]
        return o.unpack(_rows(outputs, count).reshape(count * BURST, -1)[: len(x)]), trace


def load(folder: Path, manifest: Manifest) -> Netlist:
    """Read the netlists that stage synth wrote.

    Raises:
        MissingInput: there are none.
        InvalidInput: they are not understood, or do not have the ports of the Verilog.
    """
    about = json.loads((folder / "netlist.json").read_text())
    if manifest.top not in about["modules"]:
        raise MissingInput(f"{folder}: there is no netlist of {manifest.top}; the back end of synthesis left none.")
    modules: dict[str, Module] = {}
    for name in about["modules"]:
        modules |= {module.name: module for module in parse((folder / f"{name}.v").read_text(), f"{name}.v")}
    circuit = Circuit(modules, manifest.top, manifest.clock)
    for port, nets in ((manifest.input, circuit.inputs), (manifest.output, circuit.outputs)):
        if len(nets.get(port.name, ())) != port.width:
            raise InvalidInput(f"netlist of {manifest.top}: port {port.name} has {len(nets.get(port.name, ()))} bits, not {port.width}.")
    return Netlist(circuit, manifest)


def suspects(job: Job, netlist: Netlist, x: NDArray[np.float64], verilog: Path, tools: Sequence[Tool]) -> list[str]:
    """Simulate the Verilog of the modules inside on the inputs that they had in the netlist, and say which give other outputs.

    Args:
        job: gives a work folder and runs the programs.
        netlist: what is wrong.
        x: (N, ...) inputs that show it, channels last.
        verilog: folder of the Verilog.
        tools: of the simulation of the Verilog.

    Returns:
        For each module that differs its name and its first wrong bit; none when the fault is outside of them.
    """
    instances = [i for i in netlist.circuit.instances if i.module in netlist.manifest.stages]
    if not instances:
        return []
    count = -(-len(x) // BURST)
    _, trace = netlist.simulate(x, job.rng(0, "registers"))
    fed, made, lines, at, end = [], [], [], 0, 0
    for n, instance in enumerate(instances):
        pins = []
        for port, nets in instance.inputs.items():
            fed.append(trace.port(nets))
            pins.append(f".{port}(model_inp[{at + len(nets) - 1}:{at}])")
            at += len(nets)
        for port, nets in instance.outputs.items():
            made.append((instance.module, port, trace.port(nets)))
            pins.append(f".{port}(model_out[{end + len(nets) - 1}:{end}])")
            end += len(nets)
        lines.append(f"  {instance.module} i{n} ({', '.join(pins)});\n")
    probe = job.work / "probe.v"
    head = f"module probe (input clk, input [{at - 1}:0] model_inp, output [{end - 1}:0] model_out);\n"
    probe.write_text(f"{head}{''.join(lines)}endmodule\n")
    manifest = replace(netlist.manifest, top="probe", clock="clk", input=Port("model_inp", at, ()), output=Port("model_out", end, ()))
    sources = [probe, *(verilog / name for name in manifest.sources)]
    want = _packed(np.concatenate([words for _, _, words in made], axis=1), count)
    raw, _ = stream(job, sources, manifest, _packed(np.concatenate(fed, axis=1), count), tools, want)
    wrong = np.flatnonzero(np.unpackbits(raw[: len(want)] ^ want, axis=1, bitorder="little")[:, :end].any(axis=0))
    found, at = [], 0
    for module, port, words in made:
        bits = wrong[(wrong >= at) & (wrong < at + words.shape[1])] - at
        found += [f"{module} (bit {bits[0]} of {port}{f' and {len(bits) - 1} more' * (len(bits) > 1)})"] if len(bits) else []
        at += words.shape[1]
    return found


def _lanes(packed: Bytes, width: int) -> Words:
    """Turn packed rows (streams, cycles, bytes) into words (cycles, bits, words) of which each bit is a stream."""
    bits = np.unpackbits(packed, axis=2, bitorder="little")[:, :, :width].transpose(1, 2, 0)
    bits = np.pad(bits, ((0, 0), (0, 0), (0, -bits.shape[2] % 64)))
    return np.packbits(bits, axis=2, bitorder="little").view(np.uint64)


def _rows(words: Words, count: int) -> Bytes:
    """Turn words (cycles, bits, words) into packed rows (streams, cycles, bytes)."""
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=2, bitorder="little")[:, :, :count]
    return np.packbits(bits.transpose(2, 0, 1), axis=2, bitorder="little")


def _packed(words: Words, count: int) -> Bytes:
    """Return all cycles of all streams as packed rows (N, bytes)."""
    rows = _rows(words, count)
    return rows.reshape(-1, rows.shape[2])
