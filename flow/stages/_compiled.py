"""Compiled losses of the stages that look at many points. Apart from `_measuring`: what does not run that code must not depend on it."""

from dataclasses import replace

from flow.core.stage import Job
from flow.core.tool import GXX
from flow.landscape._engine import try_engine
from flow.landscape._problem import Problem


def with_engine(job: Job, problem: Problem, asked: str) -> Problem:
    """Return the problem with compiled code, if the point asks for ``compiled`` and the network allows it; the log says which."""
    if asked != "compiled":
        return problem
    engine, why = try_engine(
        problem.twin, problem.head, problem.loss_function, problem.x, problem.y, job.work,
        lambda args, folder: job.run_tool(GXX, args, cwd=folder), problem.memory,
    )  # fmt: skip
    with job.log.open("a") as log:
        log.write(f"engine: {f'the twin, because of {why}' if engine is None else 'compiled'}\n")
    return replace(problem, engine=engine)
