"""Ctrl-C for the programs that tests start."""

import signal


def hear() -> None:
    """Hear SIGINT again (as `preexec_fn`): what was started in the background of a shell script ignores it, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
