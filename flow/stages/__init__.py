"""One file a stage; the order follows from what each reads and writes."""

import importlib
import keyword
from typing import TYPE_CHECKING

from flow.core.stage import Stage

if TYPE_CHECKING:
    from flow.config import DesignPoint

IDS = ("data", "pretrain", "train", "export", "convert", "csim", "rtl", "rtlsim", "synth", "landscape", "robustness")
IMPORT = "import"
TRAINING = ("data", "pretrain", "train", "export")


def load_stage(name: str) -> Stage:
    """Import one stage; the module of a stage whose name is a word of Python has an underscore behind it."""
    stage: Stage = importlib.import_module(f"flow.stages.{name}{'_' * keyword.iskeyword(name)}").STAGE
    return stage


def all_stages(point: "DesignPoint | None" = None) -> list[Stage]:
    """Import every stage of a point, in the order in which a person thinks of them; without a point, those of a model."""
    if point is None or not point.onnx:
        return [load_stage(name) for name in IDS]
    return [load_stage(name) for name in (IMPORT, *(name for name in IDS if name not in TRAINING))]
