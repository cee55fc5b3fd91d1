"""One file a stage; the order follows from what each reads and writes."""

import importlib
import keyword
from typing import TYPE_CHECKING

from flow.core import plugins
from flow.core.stage import Stage

if TYPE_CHECKING:
    from flow.config import DesignPoint

IMPORT = "import"
TRAINING = ("data", "pretrain", "train", "export")
SOFTWARE = ("convert", "csim")
SCORES = ("landscape", "robustness")
FAULTS = ("upsets", "harden")  # of RTL that is there, if the point asks for them
OPEN = ("rtl", "rtlsim", "synth", "netsim")
VENDOR = ("csynth", "cosim", "vsynth")
IDS = (*TRAINING, *SOFTWARE, *OPEN, *SCORES)  # of a point with the default back end
COMPARE = "compare"  # of points that differ in the seed only, after all of them
KNOWN = (*TRAINING, IMPORT, *SOFTWARE, *OPEN, "waveform", "route", "estimate", *VENDOR, *SCORES, *FAULTS, COMPARE)


def load_stage(name: str) -> Stage:
    """Import one stage; the module of a stage whose name is a word of Python has an underscore behind it."""
    stage: Stage = importlib.import_module(f"flow.stages.{name}{'_' * keyword.iskeyword(name)}").STAGE
    return stage


def all_stages(point: "DesignPoint | None" = None) -> list[Stage]:
    """Import every stage of a point, in the order in which a person thinks of them: training or import, C++, hardware, scores.

    Args:
        point: its back end names the stages of hardware; None: a model's with the default back end.
    """
    if point is None:
        return [load_stage(name) for name in IDS]
    hardware = plugins.load("synth", point.hardware.backend).stages(point)
    first = (IMPORT,) if point.onnx else TRAINING
    wanted = (point.registers.flips, point.protection.methods) if "rtl" in hardware else ()
    faults = [name for name, asked in zip(FAULTS, wanted, strict=False) if asked]
    return [load_stage(name) for name in (*first, *SOFTWARE, *hardware, *SCORES, *faults)]
