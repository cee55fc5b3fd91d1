"""Say in words why a stage would run again, and clear out what nothing refers to."""

import json
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow.core import artifact
from flow.core.errors import StoreError
from flow.core.plan import index_file, key_document
from flow.core.stage import Stage
from flow.core.state import State
from flow.core.store import PIECES, Store

if TYPE_CHECKING:
    from flow.config import DesignPoint

MONTH = 30 * 24 * 3600.0


def differences(old: object, new: object, path: str = "") -> list[str]:
    """Say in words how two key documents differ."""
    if old == new:
        return []
    if not (isinstance(old, dict) and isinstance(new, dict)):
        section, _, rest = path.partition(".")
        if section in ("code", "inputs", "sources"):
            what = {"code": "code", "inputs": "input", "sources": "source"}[section]
            verb = "is new" if old is None else "is gone" if new is None else "changed"
            return [f"{what} {rest} {verb}"]
        name = rest if section in ("config", "tools", "packages") else path
        return [f"{name} {_short(old)} -> {_short(new)}"]
    keys = dict.fromkeys([*old, *new])
    return [d for k in keys for d in differences(old.get(k), new.get(k), f"{path}.{k}" if path else str(k))]


def _short(value: object) -> str:
    return "(none)" if value is None else value if isinstance(value, str) else json.dumps(value)


def explain(stages: Sequence[Stage], point: "DesignPoint", store: Store) -> list[tuple[str, str, list[str]]]:
    """Tell for each stage whether it would run, and why, without running anything.

    Returns:
        ``(stage, verdict, reasons)``; the verdict is ``cached``, ``failed before``, ``skipped``: it reads the output of a stage
        that failed before, ``will run``, or ``depends``: it reads the output of a stage that will run, so whether it must run is
        known only then.
    """
    path = index_file(store, point.name)
    last: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    state, pending, rows = State(), dict[str, str](), list[tuple[str, str, list[str]]]()
    for stage in stages:
        lost = [f"reads {name}, which is missing" for name in stage.reads if name not in pending and name not in state.artifacts]
        if lost:
            rows.append((stage.id, "skipped", lost))
            continue
        waits = [f"reads {name}, which {pending[name]} will write" for name in stage.reads if name in pending]
        document = key_document(stage, point, {n: state.artifacts[n] for n in stage.reads if n not in pending})
        key = artifact.text_digest(document)
        found = None if waits else store.find(stage.id, key)
        if found is not None:
            folder = store.folder(stage.id, key) / "out"
            state = state.add(found, {name: folder / name for name in found.artifacts})
            message = [found.failure.message] if found.failure else []
            rows.append((stage.id, "failed before" if found.failure else "cached", message))
            continue
        reasons = _reasons(store, stage, last.get(stage.id), document)
        pending |= dict.fromkeys(stage.writes, stage.id)
        rows.append((stage.id, "depends" if waits and not reasons else "will run", [*reasons, *waits]))
    return rows


def _reasons(store: Store, stage: Stage, last_key: str | None, document: dict[str, Any]) -> list[str]:
    if last_key is None:
        return ["it never ran for this point"]
    old_path = store.folder(stage.id, last_key) / "key.json"
    if not old_path.is_file():
        return ["its last result is no longer in the store"]
    old = json.loads(old_path.read_text())
    known = {k: old["inputs"].get(k) for k in document["inputs"]}
    return differences({**old, "inputs": known}, document)


def collect_garbage(store: Store, dry_run: bool = False) -> tuple[int, int]:
    """Remove results that no point's latest run refers to, and what killed runs left behind.

    Returns:
        How many folders, and how many bytes.

    Raises:
        StoreError: something is running.
    """
    if store.in_use():
        raise StoreError(f"The store {store.root} is in use (there are locks in it). Wait until it is idle, or run again in a minute.")
    keep = {(s, k) for p in (store.root / "points").glob("*.json") for s, k in json.loads(p.read_text()).items()}
    left_over = list((store.root / "tmp").glob("*"))
    results = [p.parent for p in store.root.glob("*/*/result.json") if p.parent not in left_over]
    unused = [folder for folder in results if (folder.parent.name, folder.name) not in keep]
    left_over += _old_pieces(store)
    size = sum(f.stat().st_size for folder in (*unused, *left_over) for f in folder.rglob("*") if f.is_file())
    if not dry_run:
        for folder in (*left_over, *(_out_of_sight(store, folder) for folder in unused)):
            shutil.rmtree(folder)
    return len(unused) + len(left_over), size


def _old_pieces(store: Store) -> list[Path]:
    """List the parts of results that nothing used for a month, and those that a killed process did not finish."""
    return [p for p in (store.root / PIECES).glob("*") if p.name.startswith(".") or time.time() - p.stat().st_mtime > MONTH]


def _out_of_sight(store: Store, folder: Path) -> Path:
    """Move a result aside in one step, so that a kill while it is removed cannot leave half of it to be found."""
    target = store.root / "tmp" / f"gc-{uuid.uuid4().hex}"
    target.parent.mkdir(exist_ok=True)
    return folder.rename(target)
