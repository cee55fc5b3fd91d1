"""Progress on a terminal: step k/n, elapsed, time left, and one line for the result of each stage."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import shorten
from types import FrameType

from flow.core.interrupt import postponed
from flow.core.plan import Event
from flow.core.state import Result

QUIET = 15.0  # seconds between progress lines where the output is not a terminal

_SIGNALS: list[int] = []  # that asked this process to stop


def stop_on_signal(number: int, frame: FrameType | None) -> None:
    """Signal handler: unwind like Ctrl-C, and remember it: some libraries (torch.export) turn a KeyboardInterrupt into an error."""
    if postponed(number, frame):
        return
    _SIGNALS.append(number)
    raise KeyboardInterrupt


def clock(seconds: float) -> str:
    """Return a duration as ``m:ss``.

    >>> clock(75.4)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def headline(result: Result) -> str:
    """Say in one line what a stage found."""
    if result.failure is not None:
        return shorten(f"{result.failure.error}: {result.failure.message}", 300)
    if result.status == "skipped":
        return "skipped: what it reads is missing, see the failure above"
    for name, metric in result.metrics.items():
        if name.startswith("gate_") and name.endswith("_mismatches"):
            samples = result.metrics[name.replace("mismatches", "samples")].value
            return f"exactness gate: {metric.value:.0f} of {samples:.0f} samples differ"
    first = list(result.metrics.values())[:3]
    return ", ".join(f"{m.title or ''} {m.value:.4g} {m.unit}".strip() for m in first) or f"{len(result.artifacts)} artifact(s)"


@dataclass
class Progress:
    """Listener of `flow.core.plan` that writes to a terminal or a log.

    Attributes:
        many: several points run at the same time, so each line names its point.
        write: takes one finished line.
    """

    write: Callable[[str], None]
    many: bool = False
    started: float = field(default_factory=time.monotonic)
    last: dict[str, float] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Show an event.

        Raises:
            KeyboardInterrupt: a signal came while a library was at work that took it for an error of its own.
        """
        if _SIGNALS:
            raise KeyboardInterrupt
        now = time.monotonic()
        where = f"[{event.index:>2}/{event.total}] " + (f"{event.point}: " if self.many else "") + f"{event.stage:<10}"
        if event.result is not None:
            self._clear()
            word = {"ok": "cached" if event.result.cached else f"{event.result.seconds:.1f} s", "failed": "FAILED"}.get(
                event.result.status, "skipped"
            )
            left = f"  (elapsed {clock(now - self.started)}, left ~{clock(event.seconds_left)})" if not event.result.cached else ""
            self.write(f"{where} {word:>8}  {headline(event.result)}{left}")
            return
        text = f"{where} {event.fraction:>7.0%}  {event.text}  (elapsed {clock(now - self.started)}, left ~{clock(event.seconds_left)})"
        if sys.stderr.isatty() and not self.many:
            sys.stderr.write("\r\033[K" + text[:150])
            sys.stderr.flush()
        elif event.fraction and now - self.last.setdefault(event.point, now) > QUIET:
            self.last[event.point] = now
            self.write(text)

    def _clear(self) -> None:
        if sys.stderr.isatty() and not self.many:
            sys.stderr.write("\r\033[K")
