"""Run the benchmarks: ``python -m benchmarks [topic ...]``, from the root of the checkout."""

import argparse
import importlib
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

NOT_TOPICS = ("__init__", "__main__", "timing", "accuracy", "estimate_data", "hls4ml_sums", "vendor", "vendor_networks")
TOPICS = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in NOT_TOPICS)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables of the topics."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"{', '.join(TOPICS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="see that everything works; the figures say nothing")
    args = parser.parse_args(argv)
    if unknown := set(args.topics) - set(TOPICS):
        parser.error(f"no such topic: {', '.join(sorted(unknown))}. Topics: {', '.join(TOPICS)}")
    say(f"one thread, {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}")
    say("x float: processor time over that of the float network in the same round, median and spread over the rounds\n")
    for topic in args.topics or TOPICS:
        module = importlib.import_module(f"benchmarks.{topic}")
        say(f"{topic}: {module.TITLE}\n")
        for line in module.run(args.quick):
            say(line)


if __name__ == "__main__":
    main()
