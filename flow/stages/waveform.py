"""Stage ``waveform``, on request (``gate.waveform``): all signals of the simulated Verilog over the first gate vectors, as a VCD file."""

from typing import TYPE_CHECKING

from flow.core.errors import ToolNotFound
from flow.core.stage import Job, Stage
from flow.rtl.simulate import VERILATOR, simulator
from flow.stages.rtlsim import sources

if TYPE_CHECKING:
    from flow.config import DesignPoint

TOOLS = simulator()
VECTORS, FRAMES = 32, 2  # every signal of each cycle is in the file, and a frame takes many cycles


def check(point: "DesignPoint") -> None:
    """Refuse to begin without Verilator.

    Raises:
        ToolNotFound: there is only another simulator.
    """
    if TOOLS[0].name != VERILATOR.name:
        raise ToolNotFound(f"gate.waveform: a waveform is written with Verilator only. {VERILATOR.hint}")


def run(job: Job) -> None:
    """Simulate a few vectors, or frames of a stream one behind the other, and keep what all signals did."""
    from flow import gate
    from flow.rtl import simulate
    from flow.rtl.ports import Manifest
    from flow.stream.simulate import build
    from flow.stream.simulate import simulate as send

    folder = job.input("verilog")
    manifest = Manifest.load(folder / "manifest.json")
    files, waves = [folder / name for name in manifest.sources], job.output("waveform").resolve()
    x, y = gate.read_vectors(job.input("vectors"))
    x = gate.channels_last(x)
    job.progress(0.05, "Verilator builds the simulation")
    if manifest.io == "stream":
        work = build(job, files, manifest, job.work / "simulation", traced=True)
        send(job, work, manifest, x[:FRAMES], waves=waves)
        return
    inputs, expected = manifest.input.pack(x[:VECTORS]), manifest.output.pack(y[:VECTORS])
    simulate.stream(job, files, manifest, inputs, TOOLS, expected, waves=waves)


STAGE = Stage(
    "waveform", run, reads=("verilog", "vectors"), writes=("waveform",), tools=TOOLS, packages=("numpy",), sources=sources, check=check,
    seconds=30,
)  # fmt: skip
