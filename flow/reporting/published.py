"""The published design of a model, from ``published.toml`` in its folder, and what of it stands beside the points of a study.

The file is for a reader, never for a stage: no result depends on it. Its keys are those of `Published`::

    title = "A trigger on a chip"
    source = "Doe et al., arXiv:1234.56789"
    part = "xcku035-fbva676-2-e"

    [[figure]]
    what = "Latency, input to output"
    value = 17.6
    unit = "us"
    metric = "latency_ns"
    comparable = "partly"
    why = "theirs has the transfer of the data in it"
    basis = "quoted"
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from flow.config_base import Section
from flow.core.errors import ConfigError, UnknownPlugin
from flow.core.plugins import suggest
from flow.model import model_folder
from flow.synth._parts import find_part

FILE = "published.toml"
RESOURCES = ("lut", "ff", "dsp", "bram")
Text = Annotated[str, Field(min_length=1)]
Basis = Literal["quoted", "secondary", "recalled"]
Count = Annotated[float, Field(ge=0)]


class Figure(Section):
    """One figure of the published design.

    Attributes:
        what: words for it.
        value: the number; left out where `text` says it.
        unit: its unit, for example ``us`` or ``frames/s``.
        text: what is no number, such as the tools that were used.
        metric: id of the metric of ours that stands beside it.
        here: what stands beside it where no metric does.
        comparable: whether the two may be compared.
        why: the reason, in a sentence.
        basis: ``quoted``: read in the source; ``secondary``: read in a text about it; ``recalled``: not looked up.
        source: where it is from, if not from the source of the file.
    """

    what: Text
    value: float | None = None
    unit: str = ""
    text: str = ""
    metric: Annotated[str, Field(pattern=r"^[a-z0-9_]*$")] = ""
    here: str = ""
    comparable: Literal["yes", "partly", "no"]
    why: Text
    basis: Basis
    source: str = ""

    @model_validator(mode="after")
    def _one_of_two(self) -> "Figure":
        if (self.value is None) == (not self.text):
            raise ValueError("give value (with its unit) or text, one of them")
        if bool(self.metric) == bool(self.here):
            raise ValueError("give metric, the id of a metric, or here, words; one of them")
        return self


class Occupied(Section):
    """What of the part is taken by something else than the network; a figure that is left out is not known.

    Attributes:
        what: words for it.
        lut: look-up tables.
        ff: flip-flops.
        dsp: DSP slices.
        bram: block RAMs of 36 kbit.
        basis: as that of a figure.
        source: where the counts are from.
    """

    what: Text
    lut: Count | None = None
    ff: Count | None = None
    dsp: Count | None = None
    bram: Count | None = None
    basis: Basis
    source: Text

    @model_validator(mode="after")
    def _some_count(self) -> "Occupied":
        if not self.counts:
            raise ValueError(f"give at least one of {', '.join(RESOURCES)}")
        return self

    @property
    def counts(self) -> dict[str, float]:
        """What is known, by resource."""
        return {name: value for name in RESOURCES if (value := getattr(self, name)) is not None}


class Published(Section):
    """A published design.

    Attributes:
        title: words for it.
        source: who published it, and where.
        part: the FPGA part it runs in; empty: none, or none that is known here.
        figure: its figures.
        occupied: what of the part the network cannot have.
    """

    title: Text
    source: Text
    part: str = ""
    figure: Annotated[tuple[Figure, ...], Field(min_length=1, strict=False)]
    occupied: Occupied | None = None

    @field_validator("part")
    @classmethod
    def _known(cls, part: str) -> str:
        try:
            if part:
                find_part(part)
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("hardware.part = ")) from None
        return part

    @model_validator(mode="after")
    def _occupies_a_part(self) -> "Published":
        if self.occupied is not None and not self.part:
            raise ValueError("occupied says what of a part is taken; give part")
        return self


def _place(loc: tuple[int | str, ...]) -> str:
    words = [f"{loc[k - 1]} {part + 1}" if isinstance(part, int) else part for k, part in enumerate(loc)]
    return ", ".join(word for k, word in enumerate(words) if not (k + 1 < len(loc) and isinstance(loc[k + 1], int)))


def _explain(error: ValidationError, path: Path) -> ConfigError:
    tables: Mapping[str, type[Section]] = {"figure": Figure, "occupied": Occupied}
    found = []
    for e in error.errors():
        words = e["msg"].removeprefix("Value error, ")
        if e["type"] == "extra_forbidden":
            known = list((tables[str(e["loc"][0])] if len(e["loc"]) > 1 else Published).model_fields)
            words = f"unknown key. Known: {', '.join(known)}.{suggest(str(e['loc'][-1]), known)}"
        elif e["type"] == "missing":
            words = "this key is needed and is not there"
        found.append(f"{_place(e['loc']) or 'the file'}: {words}")
    return ConfigError(f"{path}: {len(found)} mistake{'s' * (len(found) > 1)}.\n" + "\n".join(f"  - {line}" for line in found))


def read(folder: Path) -> Published | None:
    """Read the published design of a model folder; None if it has none.

    Raises:
        ConfigError: the file is wrong; with every mistake of it and its key.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Published.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not valid TOML: {error}.") from None
    except ValidationError as error:
        raise _explain(error, path) from None


def document(model: str) -> dict[str, Any]:
    """Return the published design of a model as a JSON document.

    Returns:
        Empty if there is none: of an imported network (no name), or of a model that is not there, which its stages tell.

    Raises:
        ConfigError: its file is wrong.
    """
    try:
        found = read(model_folder(model)) if model else None
    except UnknownPlugin:
        return {}
    return {} if found is None else found.model_dump(mode="json", exclude_defaults=True)
