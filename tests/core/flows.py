"""Toy flows made inside a test: each stage notes that it ran, and does what the test says."""

from flow.core.stage import Job, Stage
from flow.core.store import Store
from tests.core import toy


class Flow:
    """Builds stages, runs them, and knows which ran since the last question."""

    def __init__(self, folder):
        self.store, self.marks, self._ran = Store(folder / "store"), folder, []

    def point(self, **fields):
        return toy.point(self.marks, **fields)

    def stage(self, name, reads=(), writes=None, work=None, **fields):
        """A stage that writes its name and what it read, or does `work`."""

        def run(job: Job) -> None:
            self._ran.append(name)
            if work is not None:
                work(job)
                return
            for output in job.stage.writes:
                job.output(output).write_text(name + "".join(job.input(i).read_text() for i in job.stage.reads))

        return Stage(name, run, reads=tuple(reads), writes=(name,) if writes is None else writes, **fields)

    @property
    def ran(self):
        ran, self._ran = self._ran, []
        return ran
