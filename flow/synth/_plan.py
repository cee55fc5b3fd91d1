"""What a synthesis back end is asked for and what it gives: pure data, so that it can be tested without the tool.

A back end is a module of `flow.synth` with

- ``TITLE``: one line for `hlscape list backends`,
- ``stages(point)``: the ids of the stages of hardware, behind csim.

If ``synth`` is one of these stages, which takes Verilog, it also has

- ``TOOLS``: the programs it runs,
- ``plan(sources, manifest, part) -> BuildPlan``: pure,
- ``OPTIONS``, if it has any: settings of ``[hardware]`` that ``plan_with(sources, manifest, part, options)`` is given,
- ``read(folder) -> Report``: pure but for reading the files that the commands of the plan wrote,
- ``NETLIST``, if it leaves netlists of Verilog for stage netsim: the end of their names; the rest is the name of the module.
"""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from flow.core.errors import InvalidInput
from flow.core.tool import kill_all


@dataclass(frozen=True)
class Command:
    """One call of a program in the folder of the plan.

    Attributes:
        name: for a person.
        tool: the name of one of the back end's ``TOOLS``.
        args: its arguments.
        reads: files of the plan that decide about its products, if they alone do; then it is not run again for the same content.
        products: files that it leaves and that are kept for that; empty: nothing is kept.
    """

    name: str
    tool: str
    args: tuple[str, ...]
    reads: tuple[str, ...] = ()
    products: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildPlan:
    """Files to write and programs to run.

    Attributes:
        files: text by relative path.
        groups: commands of a group do not depend on each other; groups run in order.
    """

    files: Mapping[str, str]
    groups: tuple[tuple[Command, ...], ...]

    def write(self, folder: Path) -> None:
        """Write the files.

        Raises:
            InvalidInput: a path that leaves the folder.
        """
        for name, text in self.files.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise InvalidInput(f"synthesis plan: '{name}' is not inside its folder.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def execute(self, call: Callable[[Command], object], workers: int | None = None) -> None:
        """Run the commands of each group in parallel.

        Args:
            call: runs one command and raises when it fails; the commands after a failed one are not begun.
            workers: how many at once; None: one for each core.
        """
        stop, busy = Event(), set[str]()

        def guarded(command: Command) -> None:
            busy.add(command.name)
            try:
                if not stop.is_set():
                    call(command)
            finally:
                busy.discard(command.name)

        with ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1) as pool:
            try:
                for group in self.groups:
                    running = {pool.submit(guarded, command) for command in group}
                    while running:  # in short waits: a Ctrl-C just before a wait is seen only when the wait ends
                        done, running = wait(running, timeout=0.2, return_when=FIRST_EXCEPTION)
                        for future in done:
                            future.result()
            except BaseException:
                stop.set()
                while busy:  # not the futures: an interrupted submit returns none; and one may be about to start its program
                    kill_all()  # threads do not see Ctrl-C, and what they wait for is no longer wanted
                    time.sleep(0.05)
                raise


@dataclass(frozen=True)
class Counts:
    """Primitives of one module or of the design.

    Attributes:
        lut: look-up tables, those used as shift register or memory included.
        ff: flip-flops and latches.
        carry: carry primitives of 4 bits (CARRY4).
        dsp: DSP slices.
        bram: 36-kbit block RAMs, an 18-kbit one is a half.
        srl: look-up tables used as shift registers.
        muxf: wide multiplexers F7, F8, F9.
        lut_by_inputs: look-up tables used as logic by their number of inputs; an inverter is one of 1 input.
        other: anything else by name, e.g. clock buffers.
        lut6_packed: LUT6 when small tables share one, by the rule of `flow.synth._packing`; None: not known for the family.
        carry8: carry primitives of 8 bits (UltraScale); None: the family has none.
    """

    lut: int = 0
    ff: int = 0
    carry: int = 0
    dsp: int = 0
    bram: float = 0.0
    srl: int = 0
    muxf: int = 0
    lut_by_inputs: Mapping[str, int] = field(default_factory=dict)
    other: Mapping[str, int] = field(default_factory=dict)
    lut6_packed: int | None = None
    carry8: int | None = None

    def __add__(self, more: "Counts") -> "Counts":
        """Add two modules."""
        plain = {k: getattr(self, k) + getattr(more, k) for k in ("lut", "ff", "carry", "dsp", "bram", "srl", "muxf")}
        return Counts(
            **plain,
            lut_by_inputs=_merge(self.lut_by_inputs, more.lut_by_inputs), other=_merge(self.other, more.other),
            lut6_packed=_known(self.lut6_packed, more.lut6_packed), carry8=_known(self.carry8, more.carry8),
        )  # fmt: skip


def _known(a: int | None, b: int | None) -> int | None:
    """Add what is known of two modules; where a family has no such thing, no module has it."""
    return b if a is None else a if b is None else a + b


def _merge(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {k: a.get(k, 0) + b.get(k, 0) for k in sorted({*a, *b})}


@dataclass(frozen=True)
class Report:
    """What synthesis found.

    Attributes:
        tool: name and version.
        modules: counts by module, without the modules inside.
        layer: layer of each module; empty when modules are not grouped into layers.
    """

    tool: str
    modules: Mapping[str, Counts]
    layer: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> Counts:
        """Sum over the modules."""
        return sum(self.modules.values(), Counts())

    @property
    def layers(self) -> dict[str, Counts]:
        """Sum over the modules of each layer; what is around the layers stands under the name of the top."""
        found: dict[str, Counts] = {}
        for name, layer in self.layer.items():
            found[layer] = found.get(layer, Counts()) + self.modules[name]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return a JSON document with the total, every module, and every layer if there are some."""
        document = {"tool": self.tool, "total": asdict(self.total), "modules": {name: asdict(c) for name, c in self.modules.items()}}
        return {**document, **({"layers": {name: asdict(c) for name, c in self.layers.items()}} if self.layer else {})}
