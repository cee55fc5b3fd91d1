"""A process of its own, to be killed: one stage, the whole study, or slow points."""

import sys
import time
from pathlib import Path

from flow.core.plan import run_point
from flow.core.store import Store
from flow.core.sweep import run_many
from tests.core import toy


def main(mode: str, root: Path, marks: Path) -> None:
    store = Store(root)
    if mode == "point":
        while not (marks / "go").exists():
            time.sleep(0.005)
        run_point(toy.STAGES[:1], toy.point(marks), store)
        return
    stages, points = (
        (toy.STAGES, toy.study(marks)) if mode == "study" else ([toy.stage("slow")], [toy.point(marks, seed=s) for s in range(6)])
    )
    for _ in run_many([(stages, point) for point in points], store, 2, lambda event: None):
        pass


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
