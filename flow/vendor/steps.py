"""Where a vendor's program is, from the lines that it prints: step k of n.

The words are those of real logs of Vivado HLS 2016.4 to 2019.2, Vitis HLS 2021.1 and 2022.2, and Vivado.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from flow.core.stage import Progress
from flow.terminal import clock

Table = Sequence[tuple[str, str]]  # pattern, and words in which \1 is its first group; a later step never goes back to an earlier one

HLS_STEPS: Table = (
    (r"Analyzing design file '(.*?)'", r"reading \1"),
    (r"Starting code transformations|Finished Source Code Analysis", "transforming the code"),
    (r"Starting hardware synthesis|Finished Architecture Synthesis", "beginning the hardware"),
    (r"-- Implementing (?:module|) ?'(\w+)'", r"scheduling \1"),
    (r"-- Generating RTL for (?:module|) ?'(\w+)'", r"writing RTL of \1"),
    (r"Generating Verilog RTL|Finished [Gg]enerating all RTL models", "writing Verilog"),
)
COSIM_STEPS: Table = (
    *HLS_STEPS,
    (r"Instrumenting C test bench|Starting C TB testing", "running the C testbench"),
    (r"Generating RTL test bench|Starting verilog simulation|Starting C/RTL co-?simulation", "building the RTL simulation"),
    (r"// RTL Simulation : (\d+ / \d+)", r"simulating sample \1"),
    (r"Starting C post checking|co-simulation finished", "comparing"),
)
SYNTH_STEPS: Table = (
    (r"Starting synth_design|Starting Synthesize", "starting synthesis"),
    (r"Starting RTL Elaboration|Finished RTL Elaboration", "elaborating"),
    (r"Start RTL Component Statistics|Start RTL Optimization|Finished RTL Optimization Phase 1", "optimising the RTL"),
    (r"Start Cross Boundary and Area Optimization", "optimising across modules"),
    (r"Start Timing Optimization|Finished Timing Optimization", "optimising for timing"),
    (r"Start Technology Mapping|Finished Technology Mapping", "mapping to cells"),
    (r"Finished Writing Synthesis Report|synth_design completed", "synthesis is done"),
    (r"Starting Logic Optimization Task|Starting opt_design|opt_design completed", "optimising the netlist"),
)
ROUTE_STEPS: Table = (
    *SYNTH_STEPS,
    (r"Starting Placer Task|Command: place_design", "placing"),
    (r"Phase (\d[\d.]*) Global Placement|Phase (?:\d[\d.]*) Detail Placement", "placing"),
    (r"Starting Physical Synthesis Task|Command: phys_opt_design", "optimising the placed design"),
    (r"Starting Routing Task|Command: route_design", "routing"),
    (r"route_design completed", "writing reports"),
)


@dataclass
class Steps:
    """Follows a program; see `flow.core.process.Watch`.

    Attributes:
        table: its steps.
        progress: told at least every second.
        name: of the program.
        position: number of the step it is in; 0 before the first.
    """

    table: Table
    progress: Progress
    name: str
    position: int = 0
    words: str = "starting"
    seen: int = 0
    started: float = field(default_factory=time.monotonic)

    def __call__(self, line: str, resident: int) -> None:
        """Take a line."""
        moved = self._look(line) if line else True
        if moved:
            memory = f", {resident / 2**30:.1f} GiB" if resident >= 2**27 else ""
            took = clock(time.monotonic() - self.started)
            self.progress(self.fraction, f"{self.name}: step {self.position}/{len(self.table)}, {self.words} ({took}{memory})")

    @property
    def fraction(self) -> float:
        """How much of the steps is done; within one that has many parts the remaining half of it is halved every 8 parts."""
        inside = 1 - 0.5 ** (self.seen / 8)
        return min(0.98, max(0, self.position - 1 + inside) / len(self.table)) if self.position else 0.0

    def _look(self, line: str) -> bool:
        for number in range(len(self.table), max(self.position, 1) - 1, -1):
            pattern, words = self.table[number - 1]
            if found := re.search(pattern, line):
                self.seen = self.seen + 1 if number == self.position else 1
                self.position, self.words = number, found.expand(words)
                return True
        return False
