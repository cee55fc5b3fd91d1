"""Signals must not break into an import: C++ that is loaded there, of torch for example, ends the process at an exception."""

import os
import threading
from types import FrameType

AGAIN = 0.05  # seconds


def postponed(number: int, frame: FrameType | None) -> bool:
    """Tell whether a signal came during an import; if so it is sent again a little later.

    Args:
        number: signal.
        frame: what was interrupted, as a signal handler is told.
    """
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            again = threading.Timer(AGAIN, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return True
        frame = frame.f_back
    return False
