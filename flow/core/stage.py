"""What a stage is, and the job it is handed: only what it declared, and an empty folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from flow.core import tool as programs
from flow.core.errors import Undeclared
from flow.core.metric import Direction, Kind, Metric

if TYPE_CHECKING:
    from flow.config import DesignPoint
    from flow.core.process import Watch

Progress = Callable[[float, str], None]


def _no_sources(point: "DesignPoint") -> Mapping[str, Path]:
    return {}


def _no_check(point: "DesignPoint") -> None:
    return None


@dataclass(frozen=True)
class Stage:
    """One step of the flow, a pure function from declared inputs to declared outputs.

    Attributes:
        id: name of the stage and of its module in `flow.stages`.
        run: does the work; imports what is heavy inside, so that planning stays fast.
        reads: artifacts it may open, written by other stages.
        writes: files or folders it must write, all of them and nothing else.
        measures: ids of its metrics, as `fnmatch` patterns.
        config: fields of the design point it may look at (``network`` or ``network.size``); their values enter the key.
        tools: programs it runs; their versions enter the key.
        packages: distributions whose version changes its result.
        sources: further files and folders that its result depends on (a data file, a plug-in), by label.
        check: looks at the point before any work starts and raises a `FlowError` for what cannot work.
        seconds: typical duration, for the time that is left before the stage ever ran here.
    """

    id: str
    run: "Callable[[Job], None]"
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    tools: tuple[programs.Tool, ...] = ()
    packages: tuple[str, ...] = ()
    sources: "Callable[[DesignPoint], Mapping[str, Path]]" = _no_sources
    check: "Callable[[DesignPoint], None]" = _no_check
    seconds: float = 10.0


class _View:
    """A design point, or a table of it, of which only the declared fields can be read."""

    def __init__(self, table: object, allowed: tuple[str, ...], path: str = "") -> None:
        inner: dict[str, list[str]] = {}
        for name in allowed:
            first, _, rest = name.partition(".")
            inner.setdefault(first, []).append(rest)
        for name, rests in inner.items():
            value = getattr(table, name)
            self.__dict__[name] = value if "" in rests else _View(value, tuple(rests), f"{path}{name}.")
        self.__dict__["_path"] = path

    def __getattr__(self, name: str) -> object:
        raise Undeclared(f"the stage looks at '{self._path}{name}' of the design point but does not declare it in `config`")


@dataclass
class Job:
    """One execution of a stage.

    Attributes:
        stage: what is executed.
        full_point: the design point; a stage uses `point`, which shows the declared fields only.
        inputs: path of each declared artifact.
        out: empty folder for the declared outputs.
        scratch: folder that survives a kill, for checkpoints; gone once the stage is committed.
        log: file for the output of tools.
        progress: ``progress(fraction, text)`` shows life to a person.
        metrics: what has been measured so far.
        pieces: folder in which parts of results may be kept by their content, for other points and runs; None: there is none. It may
            save time but never change a result; `hlscape gc` removes what was not used for a month.
    """

    stage: Stage
    full_point: "DesignPoint"
    inputs: Mapping[str, Path]
    out: Path
    scratch: Path
    log: Path
    replay: Path
    progress: Progress = lambda fraction, text: None
    metrics: dict[str, Metric] = field(default_factory=dict)
    pieces: Path | None = None

    @property
    def point(self) -> "DesignPoint":
        """The declared fields of the design point; any other raises `Undeclared`."""
        return cast("DesignPoint", _View(self.full_point, self.stage.config))

    @property
    def work(self) -> Path:
        """Folder for intermediate files, of this execution alone: a tool that outlived a killed one cannot write into it."""
        folder = self.out.parent / "work"
        folder.mkdir(exist_ok=True)
        return folder

    def input(self, name: str) -> Path:
        """Return the path of a declared artifact.

        Raises:
            Undeclared: the stage does not declare to read it.
        """
        if name not in self.stage.reads:
            raise Undeclared(f"stage {self.stage.id} reads '{name}' but does not declare it in `reads`")
        return self.inputs[name]

    def output(self, name: str) -> Path:
        """Return the path at which a declared artifact is to be written.

        Raises:
            Undeclared: the stage does not declare to write it.
        """
        if name not in self.stage.writes:
            raise Undeclared(f"stage {self.stage.id} writes '{name}' but does not declare it in `writes`")
        return self.out / name

    def measure(
        self, name: str, value: float, unit: str = "", *, kind: Kind = "measured", direction: Direction = "none",
        ci: tuple[float, float] | None = None, source: str = "", part: str = "", title: str = "",
    ) -> None:  # fmt: skip
        """Record a metric; see `flow.core.metric.Metric`. Undeclared ids are refused at commit."""
        self.metrics[name] = Metric(float(value), unit, kind, direction, ci, source, part, title)

    def run_tool(
        self, tool: programs.Tool, args: list[str], *, cwd: Path, timeout: float = 3600, memory: int | None = None,
        watch: "Watch | None" = None,
    ) -> str:  # fmt: skip
        """Run a declared program, or one of several of which one is declared; see `flow.core.tool.run`.

        Raises:
            Undeclared: the stage does not declare the program.
        """
        if tool.name not in {t.name for one in self.stage.tools for t in (one, *getattr(one, "programs", ()))}:
            raise Undeclared(f"stage {self.stage.id} runs {tool.name} but does not declare it in `tools`")
        return programs.run(tool, args, cwd=cwd, log=self.log, timeout=timeout, memory=memory, watch=watch, replay=self.replay)

    def rng(self, seed: int, purpose: str) -> np.random.Generator:
        """Return a generator of its own for one purpose of this stage."""
        words = [seed, *f"{self.stage.id}/{purpose}".encode()]
        return np.random.default_rng(np.random.SeedSequence(words))
