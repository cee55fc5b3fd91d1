"""One file a stage; the order follows from what each reads and writes."""

import importlib

from flow.core.stage import Stage

IDS = ("data", "pretrain", "train", "export", "convert", "csim", "rtl", "rtlsim", "synth", "landscape", "robustness")


def load_stage(name: str) -> Stage:
    """Import one stage."""
    stage: Stage = importlib.import_module(f"flow.stages.{name}").STAGE
    return stage


def all_stages() -> list[Stage]:
    """Import every stage, in the order in which a person thinks of them."""
    return [load_stage(name) for name in IDS]
