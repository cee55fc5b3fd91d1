"""Commands; the only place that prints. Words and progress go to stderr, results to stdout."""

import argparse
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flow.core.errors import FlowError

STORE_HELP = "results are kept in .hlscape/ or $HLSCAPE_STORE; a stage whose inputs did not change is not run again"


def store_root() -> Path:
    """Return the folder of the store."""
    return Path(os.environ.get("HLSCAPE_STORE") or ".hlscape").resolve()


def _add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=text, description=text, epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    return parser


def _add_sets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", dest="sets", action="append", default=[], metavar="KEY=VALUE", help="override a key, e.g. network.weight_bits=4"
    )


def _add_point(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("point", metavar="POINT.toml", nargs="?")
    parser.add_argument("--onnx", metavar="FILE", help="a QONNX file of a network that was trained elsewhere, in the place of a model")
    parser.add_argument("--data", metavar="FILE", help="its data file: .npz with x and, if there are targets, y; or .npy with x")
    _add_sets(parser)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="hlscape",
        description="Take quantized networks from training to hardware, bit for bit, and put every score beside its cost.",
        epilog="example:\n  hlscape run models/econ_t/point.toml\n" + STORE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = _add(
        commands,
        "run",
        "take one design point through the flow",
        "hlscape run models/econ_t/point.toml --set network.weight_bits=4 --until csim",
    )
    _add_point(run)
    run.add_argument("--until", metavar="STAGE", help="run this stage and what it needs, nothing else")

    sweep = _add(commands, "sweep", "run all design points of a study and write its report", "hlscape sweep models/econ_t/study.toml -j 2")
    sweep.add_argument("study", metavar="STUDY.toml")
    sweep.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, help="points at the same time (default: number of cores)")
    _add_sets(sweep)

    screen = _add(
        commands,
        "screen",
        "predict degradations from short trainings, rank the points of a study, and say what the prediction is worth",
        "hlscape screen models/econ_t/study.toml -j 2",
    )
    screen.add_argument("study", metavar="STUDY.toml", help="a study that was swept: its results are what the prediction learns from")
    screen.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, help="points at the same time (default: number of cores)")
    _add_sets(screen)

    report = _add(commands, "report", "write the report of a study from what is in the store", "hlscape report models/econ_t/study.toml")
    report.add_argument("study", metavar="STUDY", help="a study's or a point's TOML file")
    _add_sets(report)

    explain = _add(commands, "explain", "say which stages would run, and why", "hlscape explain models/econ_t/point.toml --set seed=1")
    _add_point(explain)

    check = _add(
        commands,
        "check",
        "look at a QONNX file: layers, widths, scales, and whether it can be exact; with a data file: is it flat and robust enough?",
        "hlscape check model.onnx --data samples.npz",
    )
    check.epilog = f"{check.epilog}\nexit code with a data file: 0 go, 1 no-go, 2 the request or a file is wrong"
    check.add_argument("onnx", metavar="MODEL.onnx")
    check.add_argument("--data", metavar="FILE", help="measure landscape and robustness on this .npz with x and y, and check the figures")
    check.add_argument("--rules", metavar="FILE.toml", help="limits for the figures; left out: those that come with hlscape")
    _add_sets(check)

    matrix = _add(commands, "matrix", "measure which layers can be deployed bit for bit, and write docs/layers.md", "hlscape matrix conv2d")
    matrix.add_argument("rows", nargs="*", metavar="ROW", help="measure only these and write nothing")
    matrix.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, help="rows at the same time (default: number of cores)")
    matrix.add_argument("--output", metavar="DIR", default="docs", help="folder of layers.md and layers.json (default: docs)")

    reports = _add(
        commands, "read-report", "say what the reports of Vivado HLS, Vitis HLS and Vivado say", "hlscape read-report my_hls4ml_project"
    )
    reports.add_argument("path", metavar="PATH", help="the folder of an hls4ml project, any folder with reports, or one report")

    _add(commands, "doctor", "tell which tools and packages are there", "hlscape doctor")

    listing = _add(commands, "list", "list what can be chosen", "hlscape list regularizers")
    listing.add_argument("what", choices=("models", "regularizers", "metrics", "perturbations", "backends", "repairs", "stages"))

    gc = _add(commands, "gc", "remove results that no point refers to any more", "hlscape gc --dry-run")
    gc.add_argument("--dry-run", action="store_true", help="only say what would go")
    return parser


def say(text: str) -> None:
    """Print words for a person."""
    print(text, file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print a result."""
    print(text, flush=True)


def emit(document: object) -> None:
    """Print the JSON document of a command."""
    print(json.dumps(document, indent=1, sort_keys=True), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0: done; 1: a stage failed (the report says which); 2: the request, the input or the installation is wrong, or it was
        stopped from outside.
    """
    args = build_parser().parse_args(argv)
    warnings.filterwarnings("ignore", category=UserWarning)  # of libraries, about themselves; ours are words in a message
    try:
        with _stopping():
            from flow import commands

            return int(getattr(commands, f"command_{args.command.replace('-', '_')}")(args))
    except FlowError as error:
        say(f"hlscape {args.command}: {error}")
    except KeyboardInterrupt:
        say("\nStopped. Finished stages are kept; the same command goes on from there.")
        # Python notes a Ctrl-C that passes through an exec(), as dataclasses and torch call it, and would kill itself with SIGINT at its
        # end, whatever the exit code. Another evaluation of text takes the note back.
        eval("0")  # noqa: S307
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = error.filename or Path.cwd()
        why = error.strerror or error
        say(f"hlscape {args.command}: {where}: {why}. Make sure that it can be read and written and that the disk is not full.")
    return 2


@contextmanager
def _stopping() -> Iterator[None]:
    """Unwind on SIGINT and SIGTERM, so that tools are killed and locks released; a signal that is ignored (nohup) stays so."""
    from flow.terminal import stop_on_signal

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop_on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
