"""Design points and studies from TOML files and ``--set``: every mistake at once, with its key, its value and what is allowed."""

import itertools
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from flow.config import DesignPoint, Study
from flow.core.errors import ConfigError
from flow.core.plugins import suggest


def _known_keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    for part in path[:-1]:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _explain(error: ValidationError, model: type[BaseModel], where: str) -> ConfigError:
    lines = []
    for e in error.errors():
        key = ".".join(map(str, e["loc"]))
        given = json.dumps(e["input"], default=str)
        if e["type"] == "extra_forbidden":
            known = _known_keys(model, e["loc"])
            lines.append(f"{key} = {given}: unknown key. Known: {', '.join(known)}.{suggest(str(e['loc'][-1]), known)}")
        elif e["type"] == "missing":
            lines.append(f"{key}: this key is needed and is not there.")
        else:
            lines.append(f"{key or 'point'}{f' = {given}' if key else ''}: {e['msg'].removeprefix('Value error, ')}")
    count = f"{len(lines)} mistake{'s' * (len(lines) > 1)}"
    return ConfigError(f"{where}: {count}.\n" + "\n".join(f"  - {line}" for line in lines))


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file. Give the path of a design point, for example models/econ_t/point.toml.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not valid TOML: {error}.") from None


def _put(document: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = document.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{key}: '{parent}' is not a table, so nothing can be set inside it.")
        document = inner
    document[last] = value


def _parse_set(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: write it as key=value, for example --set network.weight_bits=4.")
    try:
        return key.strip(), tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _absolute_data(document: dict[str, Any], base: Path) -> None:
    for table, key in ((document, "onnx"), (document.get("data"), "path"), (document.get("robustness"), "noise_file")):
        if isinstance(table, dict) and isinstance(table.get(key), str) and table[key]:
            table[key] = str((base / table[key]).resolve())


def build_point(document: dict[str, Any], where: str) -> DesignPoint:
    """Check a document and make a design point of it.

    Raises:
        ConfigError: with every mistake, its key, the value given and what is allowed.
    """
    try:
        return DesignPoint.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise _explain(error, DesignPoint, where) from None


def load_document(path: Path | None, sets: Sequence[str] = ()) -> dict[str, Any]:
    """Read a point's TOML, if there is one, and apply ``key=value`` overrides (values are TOML, or else text).

    A relative `data.path`, `onnx` or `robustness.noise_file` is relative to the file, in an override to the working folder.
    """
    document = {} if path is None else _read_toml(path)
    _absolute_data(document, path.parent if path else Path.cwd())
    for text in sets:
        _put(document, *_parse_set(text))
    _absolute_data(document, Path.cwd())
    return document


def load_point(path: Path | None, sets: Sequence[str] = ()) -> DesignPoint:
    """Read a design point, or make one of overrides only; a point without a name is called after its model or its QONNX file.

    Raises:
        ConfigError: with every mistake of the file at once.
    """
    document = load_document(path, sets)
    document.setdefault("name", _auto_name(document))
    return build_point(document, str(path or "the design point"))


def _auto_name(document: dict[str, Any]) -> str:
    name = Path(str(document["model"])).name if document.get("model") else Path(str(document.get("onnx", "point"))).stem
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip("_.-")[:81] or "point"


def _label(key: str, value: object) -> str:
    short = {"weight_bits": "w", "seed": "s", "regularizers": "", "latent_bits": "l", "rounding": ""}.get(
        key.rsplit(".", maxsplit=1)[-1], key.rsplit(".", maxsplit=1)[-1] + "_"
    )
    if isinstance(value, dict):
        value = "+".join(f"{k}{v:g}" if isinstance(v, float | int) else f"{k}_{_label('', v)}" for k, v in value.items()) or "plain"
    return short + re.sub(r"[^A-Za-z0-9_.-]", "-", str(value))


def load_study(path: Path, sets: Sequence[str] = ()) -> tuple[Study, list[DesignPoint]]:
    """Read a study and make its points, in the order of the axes; an axis with one value does not enter their names.

    Raises:
        ConfigError: with the mistakes of the study, or of the first point that has some; or two points have the same name, because
            an axis has a value twice, or two that read alike.
    """
    document = _read_toml(path)
    try:
        study = Study.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise _explain(error, Study, str(path)) from None
    empty = [key for key, values in study.axes.items() if not values]
    if empty:
        raise ConfigError(f"{path}: axes.{empty[0]} has no values.")
    if fixed := sorted({_parse_set(text)[0] for text in sets} & set(study.axes)):
        raise ConfigError(f"--set {fixed[0]}: this key is an axis of {path}, which sets it for each point. Change the axis instead.")
    points: list[DesignPoint] = []
    for values in itertools.product(*study.axes.values()):
        point = load_document(path.parent / study.point, sets)
        for key, value in zip(study.axes, values, strict=True):
            _put(point, key, value)
        _absolute_data(point, path.parent)
        point["name"] = "-".join([study.name, *(_label(k, v) for k, v in zip(study.axes, values, strict=True) if len(study.axes[k]) > 1)])
        if point["name"] in {p.name for p in points}:
            raise ConfigError(f"{path}: two points are called {point['name']}; an axis has a value twice, or two that are too alike.")
        points.append(build_point(point, f"{path}, point {point['name']}"))
    return study, points
