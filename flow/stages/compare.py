"""Stage ``compare``: what points that differ in the seed only have in common, by the plug-ins of `flow.landscape` with `compare`."""

from collections.abc import Sequence

from flow.config import DesignPoint
from flow.core.stage import Job, Stage


def run(job: Job) -> None:
    """Compare the networks of several seeds, pair by pair, and what a curve between them loses."""


def stage_for(members: Sequence[DesignPoint]) -> Stage:
    """Return the stage for a group of points."""
    return STAGE


STAGE = Stage("compare", run)
