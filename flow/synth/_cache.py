"""What commands of a plan left behind, by the content of what they read: a module that did not change is not mapped again."""

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from flow.core import artifact
from flow.synth._plan import Command


class Pieces:
    """Products of commands in ``<store>/modules/<digest>/``, safe for several processes; `hlscape gc` removes old ones."""

    def __init__(self, folder: Path | None) -> None:
        """Use a folder; None: keep nothing."""
        self.folder = folder

    def restore(self, command: Command, version: str, files: Mapping[str, str], work: Path) -> bool:
        """Put the products of a command into its folder if they are there, and tell whether they were."""
        entry = self._entry(command, version, files)
        if entry is None or not all((entry / name).is_file() for name in command.products):
            return False
        for name in command.products:
            shutil.copyfile(entry / name, work / name)
        os.utime(entry)  # used today
        return True

    def keep(self, command: Command, version: str, files: Mapping[str, str], work: Path) -> None:
        """Keep the products of a command that has run; one step makes them visible, and another process may be first."""
        entry = self._entry(command, version, files)
        if entry is None or self.folder is None or not all((work / name).is_file() for name in command.products):
            return
        aside = self.folder / f".{uuid.uuid4().hex}"
        aside.mkdir(parents=True)
        for name in command.products:
            shutil.copyfile(work / name, aside / name)
        try:
            aside.rename(entry)
        except OSError:  # it is there already
            shutil.rmtree(aside)

    def _entry(self, command: Command, version: str, files: Mapping[str, str]) -> Path | None:
        if self.folder is None or not command.products:
            return None
        inputs = {name: files[name] for name in command.reads}
        return self.folder / artifact.text_digest([command.tool, version, command.args, inputs, command.products])
