"""Run the benchmarks: ``python -m benchmarks [topic ...]``, from the root of the checkout."""

import argparse
import importlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.compare import Entry
from flow.core.errors import FlowError

NOT_TOPICS = (
    "__init__", "__main__", "timing", "memory", "compare", "econ_t", "accuracy", "estimate_data", "hls4ml_sums", "vendor",
    "vendor_networks", "pylandscape",
)  # fmt: skip
TOPICS = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in NOT_TOPICS)
BENCH = Path("reports/bench/bench.json")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def store(path: Path, topic: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the entries of a topic into a file in the place of those it had; those of other topics stay. Four digits are enough."""
    known = json.loads(path.read_text()) if path.is_file() else {}
    kept = {name: entry for name, entry in known.items() if entry.get("topic") != topic}
    kept |= {name: {**entry, "topic": topic} for name, entry in entries.items()}
    for name, entry in kept.items():
        kept[name] = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in entry.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(sorted(kept.items())), indent=1, ensure_ascii=False) + "\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables of the topics, and write what has a peer into one JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"{', '.join(TOPICS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="see that everything works; the figures say nothing")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"JSON file for the figures (default: {BENCH}; none with --quick)")
    args = parser.parse_args(argv)
    if unknown := set(args.topics) - set(TOPICS):
        parser.error(f"no such topic: {', '.join(sorted(unknown))}. Topics: {', '.join(TOPICS)}")
    path = args.out or (None if args.quick else BENCH)
    say(f"one thread, {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}")
    say("x float: processor time over that of the float network in the same round, median and spread over the rounds\n")
    for topic in args.topics or TOPICS:
        module = importlib.import_module(f"benchmarks.{topic}")
        say(f"{topic}: {module.TITLE}\n")
        entries: dict[str, Mapping[str, Any]] = {}
        try:
            for line in module.run(args.quick):
                if isinstance(line, Entry):
                    entries[line.name] = line.figures
                else:
                    say(line)
        except FlowError as error:  # a tool is missing, or a network was not trained
            say(f"{topic} is left out: {error}\n")
        if path is not None:
            store(path, topic, entries)
    if path is not None:
        say(f"figures: {path}")


if __name__ == "__main__":
    main()
