"""Design point and study: frozen pydantic models read from TOML, every mistake reported at once."""

import itertools
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from flow.core.errors import ConfigError
from flow.core.plugins import names, suggest

SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$"
Bits = Annotated[int, Field(ge=2, le=16)]
Positive = Annotated[int, Field(gt=0)]
NOT_IN_KEY: dict[str, JsonValue] = {"key": False}


def _plugins(group: str) -> AfterValidator:
    """Return a check that an id, or each id of several, is a plug-in of a group."""

    def check(given: str | tuple[str, ...] | dict[str, float]) -> str | tuple[str, ...] | dict[str, float]:
        ids, known = (given,) if isinstance(given, str) else given, names(group)
        wrong = [f"'{i}' is not one of the {group}: {', '.join(known)}.{suggest(i, known)}" for i in ids if i not in known]
        if wrong:
            raise ValueError(" ".join(wrong))
        return given

    return AfterValidator(check)


class Section(BaseModel):
    """Common behaviour of all tables: frozen, nothing unknown, no coercion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NetworkConfig(Section):
    """The quantized network.

    Attributes:
        size: a size that the model offers.
        weight_bits: width of every weight, signed, narrow range.
        activation_bits: width of hidden activations, unsigned; None: the same as the weights.
        input_bits: width of the input words, unsigned; the host rounds to this grid.
        latent_bits: width of the output words.
        bias_bits: width of the biases, at the scale of the accumulator.
        rounding: ROUND (half to even) or FLOOR for hidden activations and the output. FLOOR needs no adder.
    """

    size: str = "baseline"
    weight_bits: Bits = 6
    activation_bits: Bits | None = None
    input_bits: Bits = 8
    latent_bits: Bits = 9
    bias_bits: Annotated[int, Field(ge=4, le=24)] = 16
    rounding: Literal["ROUND", "FLOOR"] = "ROUND"

    @property
    def hidden_bits(self) -> int:
        """Width of hidden activations after the default is applied."""
        return self.weight_bits if self.activation_bits is None else self.activation_bits


class DataConfig(Section):
    """Where samples come from and how they are split.

    Attributes:
        path: data file or folder in the detector's format; None: the model's generator.
        samples: how many samples to generate, or the most to read from `path`.
        seed: of generation and of the split. Points of a study share it, so their test sets are the same.
        split: fractions of train, validation, test.
    """

    path: str | None = Field(default=None, json_schema_extra=NOT_IN_KEY)
    samples: Annotated[int, Field(ge=200, le=10_000_000)] = 24_000
    seed: Annotated[int, Field(ge=0)] = 42
    split: tuple[float, float, float] = Field(default=(0.8, 0.1, 0.1), strict=False)

    @field_validator("split")
    @classmethod
    def _fractions(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0 or abs(sum(value) - 1) > 1e-9:
            raise ValueError("three positive fractions that add up to 1 are needed")
        return value


class TrainConfig(Section):
    """Float pre-training, then quantization-aware training with Adam."""

    pretrain_epochs: Annotated[int, Field(ge=0, le=10_000)] = 15
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 15
    batch: Positive = 128
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-3
    patience: Positive = 8


class HardwareConfig(Section):
    """Target of synthesis.

    Attributes:
        backend: a synthesis back end (`hlscape list backends`).
        part: FPGA part.
        clock_ns: target clock period.
        logic_per_stage: most delay units of logic between two pipeline registers.
    """

    backend: Annotated[str, _plugins("synth")] = "open"
    part: str = "xcku115-flvb2104-2-i"
    clock_ns: Annotated[float, Field(gt=0.5, le=1000)] = 5.0
    logic_per_stage: Annotated[float, Field(gt=0, le=1000)] = 5.0


class GateConfig(Section):
    """How many samples the exactness gate compares."""

    samples: Annotated[int, Field(ge=64)] = 4096
    rtl_samples: Annotated[int, Field(ge=16)] = 256


class LandscapeConfig(Section):
    """Metrics of the loss landscape.

    Attributes:
        metrics: plug-ins of `flow.landscape`.
        samples: test samples the loss is averaged over.
        probes: Rademacher probes of the trace estimate.
    """

    metrics: Annotated[tuple[str, ...], _plugins("landscape")] = Field(
        default=("gradient_norm", "hessian_trace", "top_eigenvalue"), strict=False
    )
    samples: Positive = 1024
    probes: Annotated[int, Field(ge=2)] = 64


class RobustnessConfig(Section):
    """Perturbations and how often they are drawn.

    Attributes:
        perturbations: plug-ins of `flow.robustness`.
        samples: test samples that are scored.
        noise_percent: levels of the input noise (method of Baldi et al.), in percent.
        noise_draws: independent draws of the noise per level.
        flips: numbers of weight bits flipped at once.
        trials: random sets of bits per number of flips.
        flip_samples: test samples scored per set.
    """

    perturbations: Annotated[tuple[str, ...], _plugins("robustness")] = Field(default=("bit_flip", "gauss", "salt_pepper"), strict=False)
    samples: Positive = 1000
    noise_percent: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(default=(5.0, 10.0, 20.0), strict=False)
    noise_draws: Annotated[int, Field(ge=2)] = 5
    flips: tuple[Positive, ...] = Field(default=(1, 5, 20), strict=False)
    trials: Annotated[int, Field(ge=2)] = 200
    flip_samples: Positive = 100


class DesignPoint(Section):
    """One network, trained in one way, for one target. See the attributes of each table.

    Attributes:
        model: folder of `models/`, or the path of one elsewhere.
        seed: of initial weights and training order.
        regularizers: strength of each regularizer of `flow.regularizers`.
    """

    model: str
    name: Annotated[str, Field(pattern=SAFE_NAME)] = "point"
    seed: Annotated[int, Field(ge=0)] = 0
    network: NetworkConfig = NetworkConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    regularizers: Annotated[dict[str, Annotated[float, Field(gt=0)]], _plugins("regularizers")] = {}
    hardware: HardwareConfig = HardwareConfig()
    gate: GateConfig = GateConfig()
    landscape: LandscapeConfig = LandscapeConfig()
    robustness: RobustnessConfig = RobustnessConfig()


class Study(Section):
    """Many design points: the product of the axes over a base point.

    Attributes:
        point: TOML file of the base point, relative to the study's file.
        axes: dotted key -> values.
    """

    name: Annotated[str, Field(pattern=SAFE_NAME)]
    point: str
    axes: dict[str, list[Any]] = {}


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
    data = document.get("data")
    if isinstance(data, dict) and isinstance(data.get("path"), str):
        data["path"] = str((base / data["path"]).resolve())


def build_point(document: dict[str, Any], where: str) -> DesignPoint:
    """Check a document and make a design point of it.

    Raises:
        ConfigError: with every mistake, its key, the value given and what is allowed.
    """
    try:
        return DesignPoint.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise _explain(error, DesignPoint, where) from None


def load_document(path: Path, sets: Sequence[str] = ()) -> dict[str, Any]:
    """Read a point's TOML and apply ``key=value`` overrides (values are TOML, or else text).

    A relative `data.path` is relative to the file, in an override to the working folder.
    """
    document = _read_toml(path)
    _absolute_data(document, path.parent)
    for text in sets:
        _put(document, *_parse_set(text))
    _absolute_data(document, Path.cwd())
    return document


def load_point(path: Path, sets: Sequence[str] = ()) -> DesignPoint:
    """Read a design point; a point without a name is called after its model.

    Raises:
        ConfigError: with every mistake of the file at once.
    """
    document = load_document(path, sets)
    document.setdefault("name", _auto_name(document))
    return build_point(document, str(path))


def _auto_name(document: dict[str, Any]) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", Path(str(document.get("model", "point"))).name) or "point"


def _label(key: str, value: object) -> str:
    short = {"weight_bits": "w", "seed": "s", "regularizers": "", "latent_bits": "l", "rounding": ""}.get(
        key.rsplit(".", maxsplit=1)[-1], key.rsplit(".", maxsplit=1)[-1] + "_"
    )
    if isinstance(value, dict):
        value = "+".join(f"{k}{v:g}" if isinstance(v, float | int) else k for k, v in value.items()) or "plain"
    return short + re.sub(r"[^A-Za-z0-9_.-]", "-", str(value))


def load_study(path: Path, sets: Sequence[str] = ()) -> tuple[Study, list[DesignPoint]]:
    """Read a study and make its points, in the order of the axes.

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
        labels = [_label(k, v) for k, v in zip(study.axes, values, strict=True)]
        point["name"] = "-".join([study.name, *labels])
        if point["name"] in {p.name for p in points}:
            raise ConfigError(f"{path}: two points are called {point['name']}; an axis has a value twice, or two that are too alike.")
        points.append(build_point(point, f"{path}, point {point['name']}"))
    return study, points
