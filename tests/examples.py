"""The files that CONTRIBUTING.md shows, among them a model: the smallest network that goes through the whole flow."""

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))


def write_model(folder: Path) -> Path:
    """Write the model and its point into a new folder."""
    folder.mkdir(parents=True)
    for name in ("network.py", "data.py", "score.py", "point.toml"):
        (folder / name).write_text(FILES[f"models/sums/{name}"])
    return folder
