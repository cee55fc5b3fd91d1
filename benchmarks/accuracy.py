"""What quantization costs in task score, over several training seeds: ``python -m benchmarks.accuracy econ_t --seeds 3``.

Each seed trains a float network and the quantized one that starts from it, on the same data, and both are scored on the same test
set. Quantization-aware training also trains longer, so a second float network is trained for as many epochs as both together.
Prints a Markdown table; every ratio is taken within a seed. Results are kept in the store of `hlscape`.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from flow.config import DesignPoint
from flow.core.errors import FlowError
from flow.core.metric import Metric
from flow.model import MODELS
from flow.points import load_point
from flow.reporting.numbers import plus_minus
from flow.statistics import mean_interval

Run = Mapping[str, Metric]
ARROWS = {"lower": " (lower is better)", "higher": " (higher is better)", "none": ""}


class SeedFailed(Exception):
    """A seed has no score; a mean over the others would hide it."""


def hlscape(point: Path, until: str, sets: Sequence[str]) -> Run:
    """Run a point up to a stage in a process of its own and return its metrics by id.

    Raises:
        SeedFailed: the run failed; its words are on stderr already.
    """
    words = [word for text in sets for word in ("--set", text)]
    command = [sys.executable, "-m", "flow", "run", str(point), "--until", until, "--json", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SeedFailed(f"{' '.join(sets)}: no score, so there is no table. Failed: {' '.join(command[1:])}")
    return {name: Metric.from_json(metric) for name, metric in json.loads(done.stdout)["metrics"].items()}


def over_seeds(values: Sequence[float]) -> str:
    """Write the mean and the half-width of its 95 % interval (Student's t); one value has no interval."""
    mean, ci = mean_interval(np.array(values)) if len(values) > 1 else (values[0], None)
    return plus_minus(Metric(mean, ci=ci))


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Write the mean of the ratios within each seed; a ratio means nothing where a value is not positive."""
    return over_seeds([a / b for a, b in zip(ours, theirs, strict=True)]) if min(*ours, *theirs) > 0 else "–"


def table(quantized: Sequence[Run], longer: Sequence[Run]) -> list[str]:
    """Write the Markdown table of all scores that both the float and the quantized network have.

    Args:
        quantized: metrics of each seed, with ``<score>`` and ``<score>_float``.
        longer: metrics of the float network that trained longer, with ``<score>_float``; empty without them.
    """
    lines = ["| score | float | quantized | quantized / float |" + " float, as many epochs | quantized / that float |" * bool(longer)]
    lines.append("|---|---|---|---|" + "---|---|" * bool(longer))
    for name, metric in sorted(quantized[0].items(), key=lambda item: (f"{item[0]}_trivial" not in quantized[0], item[0])):
        other = f"{name}_float"
        if not all(name in run and other in run for run in quantized):
            continue
        ours, theirs = ([run[key].value for run in quantized] for key in (name, other))
        unit = f" [{metric.unit}]" if metric.unit else ""
        cells = [f"{metric.title or name}{unit}{ARROWS[metric.direction]}", over_seeds(theirs), over_seeds(ours), _ratio(ours, theirs)]
        if longer:
            trained = [run[other].value for run in longer]
            cells += [over_seeds(trained), _ratio(ours, trained)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def report(
    path: Path, sets: Sequence[str], seeds: int, longer: bool, run: Callable[[Path, str, Sequence[str]], Run] = hlscape
) -> list[str]:  # fmt: skip
    """Train all seeds and write the words and the table.

    Raises:
        SeedFailed: a run has no score.
    """
    point: DesignPoint = load_point(path, sets)
    epochs = point.train.pretrain_epochs + point.train.epochs
    per_seed = [[*sets, f"seed={seed}"] for seed in range(seeds)]
    quantized = [run(path, "train", given) for given in per_seed]
    trained = [run(path, "pretrain", [*given, f"train.pretrain_epochs={epochs}"]) for given in per_seed] if longer else []
    n = point.network
    source = Path(point.data.path).name if point.data.path else "built-in data"
    words = (
        f"{point.model}, {n.size}, {source}: {n.weight_bits}-bit weights, {n.hidden_bits}-bit activations, {n.latent_bits}-bit outputs; "
        f"{point.train.pretrain_epochs} epochs in float, then {point.train.epochs} with quantizers. Mean of {seeds} training seeds on one "
        f"test set of {quantized[0]['samples_test'].value:g} samples"
    )
    ends = " ± half of the 95 % interval over the seeds (Student's t); ratios are taken within each seed." if seeds > 1 else "."
    return [words + ends, "", *table(quantized, trained)]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 if a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="name of a model, or a point's TOML file")
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 100), metavar="N", help="number of training seeds (default: 3)")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", help="override a key of the point")
    parser.add_argument("--no-longer", dest="longer", action="store_false", help="leave out the float network that trains longer")
    args = parser.parse_args(argv)
    path = Path(args.model) if args.model.endswith(".toml") else MODELS / args.model / "point.toml"
    try:
        lines = report(path, args.sets, args.seeds, args.longer)
    except (SeedFailed, FlowError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
