"""Stage ``waveform``, on request (``gate.waveform``): all signals of the simulated Verilog over the first gate vectors, as a VCD file."""

from typing import TYPE_CHECKING

from flow.core.errors import ConfigError, ToolNotFound
from flow.core.stage import Job, Stage
from flow.rtl.simulate import VERILATOR, simulator

if TYPE_CHECKING:
    from flow.config import DesignPoint

TOOLS = simulator()
VECTORS = 32  # every signal of each cycle is in the file


def check(point: "DesignPoint") -> None:
    """Refuse to begin without Verilator, and with a stream.

    Raises:
        ConfigError: the network takes one pixel after the other, and this stage a sample a cycle.
        ToolNotFound: there is only another simulator.
    """
    if point.hardware.io == "stream":
        raise ConfigError(
            "gate.waveform = true: a waveform is of a network that takes a sample a cycle, not of a stream (hardware.io). Leave it out; "
            "the testbench tb/ beside the Verilog of a stream can be run in any simulator that writes waveforms."
        )
    if TOOLS[0].name != VERILATOR.name:
        raise ToolNotFound(f"gate.waveform: a waveform is written with Verilator only. {VERILATOR.hint}")


def run(job: Job) -> None:
    """Simulate a few vectors and keep what all signals did."""
    from flow import gate
    from flow.rtl.ports import Manifest
    from flow.rtl.simulate import stream

    folder = job.input("verilog")
    manifest = Manifest.load(folder / "manifest.json")
    x, y = (values[:VECTORS] for values in gate.read_vectors(job.input("vectors")))
    inputs, expected = manifest.input.pack(gate.channels_last(x)), manifest.output.pack(y)
    job.progress(0.05, "Verilator builds the simulation")
    stream(job, [folder / name for name in manifest.sources], manifest, inputs, TOOLS, expected, waves=job.output("waveform").resolve())


STAGE = Stage(
    "waveform", run, reads=("verilog", "vectors"), writes=("waveform",), tools=TOOLS, packages=("numpy",), check=check, seconds=30,
)  # fmt: skip
