"""Files from elsewhere: checked before they are read, and never trusted to be whole."""

import stat
from pathlib import Path

from flow.core.errors import InvalidInput, MissingInput

MOST_BYTES = 64 << 20
AGAIN = "Copy it again, or run the tool again."


def not_a_report(path: Path, what: str, why: str) -> InvalidInput:
    """Return the error for a file that is something else."""
    return InvalidInput(f"{path}: this is not {what}: {why}. Give a report as the tool wrote it.")


def cut_off(path: Path, missing: str) -> InvalidInput:
    """Return the error for a file that ends too early."""
    return InvalidInput(f"{path}: the file is cut off or damaged; {missing}. {AGAIN}")


def read_bytes(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        MissingInput: it is not there or may not be read.
        InvalidInput: it is no regular file, empty, or larger than `MOST_BYTES`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInput(f"{path}: this is not a regular file. Give a report, or the folder of a project.")
        if status.st_size > MOST_BYTES:
            raise InvalidInput(f"{path}: {status.st_size} bytes are more than the {MOST_BYTES >> 20} MiB that a report may have.")
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MissingInput(f"{path}: {why}. Check the name and that the file can be read.") from None
    if len(data) > MOST_BYTES:
        raise InvalidInput(f"{path}: it is larger than the {MOST_BYTES >> 20} MiB that a report may have.")
    if not data.strip():
        raise InvalidInput(f"{path}: the file is empty. {AGAIN}")
    return data


def read_text(path: Path) -> str:
    """Read a text report.

    Bytes that are not UTF-8 become U+FFFD: the name of a host may have some, a number that has one is not read as a number.

    Raises:
        MissingInput: it is not there or may not be read.
        InvalidInput: it is no regular file, empty, too large, or not text in an encoding that extends ASCII.
    """
    data = read_bytes(path)
    if b"\0" in data:
        raise not_a_report(path, "a text report", "it has zero bytes, so it is binary or UTF-16")
    return data.decode("utf-8-sig", errors="replace")


def printable(text: str | None) -> str | None:
    """Return a name that may be shown; None for an empty one, and for control characters, which would reach the terminal."""
    return text if text and text.isprintable() else None


def lines_of(text: str) -> list[str]:
    """Return the lines; only line feeds end them, so that nothing else in a damaged file looks like an end."""
    return [line.rstrip("\r") for line in text.split("\n")]


def whole_lines(text: str) -> list[str]:
    """Return the lines that end in a line feed; the last of a cut file may be half a number."""
    return lines_of(text)[:-1]
