"""The little of C++ that hls4ml writes: constants, type definitions, configurations and calls, found by pattern, nothing executed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flow.core.errors import InvalidInput, MissingInput
from flow.rtl.graph import FixedType, Rounding, Saturation

MOST_BYTES = 16_000_000
_CALL = re.compile(r"^[ \t]*nnet::(\w+)<([^;()\n]*)>\(([^;()\n]*)\);[ \t]*(?://[ \t]*(\S+))?", re.MULTILINE)
_FIXED = re.compile(r"(?:ap_)?(u?)fixed<([^<>]*)>|ap_(u?)int<(\d+)>")
_SKIPPED = ("load_weights_from_txt", "save_layer_output", "load_compressed_weights_from_txt", "load_exponent_weights_from_txt")


@dataclass(frozen=True)
class Call:
    """One layer: ``nnet::function<types>(arguments); // name``."""

    function: str
    types: tuple[str, ...]
    arguments: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class Source:
    """What three files of a project say.

    Attributes:
        constants: ``#define`` with a number.
        types: text of each ``typedef``.
        configs: entries of each ``struct``, as text.
        calls: layers in order.
        aliases: ``auto& a = b;``.
        sizes: dimensions of the arrays, as far as the text has them.
        inputs: type and name of each input of the top function.
    """

    constants: Mapping[str, int]
    types: Mapping[str, str]
    configs: Mapping[str, Mapping[str, str]]
    calls: tuple[Call, ...]
    aliases: Mapping[str, str]
    sizes: Mapping[str, tuple[int, ...]]
    inputs: tuple[tuple[str, str], ...]

    def fixed(self, name: str, where: str) -> FixedType:
        """Resolve a type; of an ``nnet::array`` that of its elements.

        Raises:
            InvalidInput: it is not defined, or not fixed-point as the flow knows it.
        """
        text, seen = name.strip(), set[str]()
        while text in self.types and text not in seen:
            seen.add(text)
            text = self.types[text]
        found = _FIXED.search(text)
        if found is None:
            raise InvalidInput(f"{where}: type {name} ({text}) is not defined as ap_fixed, ap_ufixed, ap_int or ap_uint.")
        return fixed_type(found[0], where)

    def number(self, config: str, key: str, where: str) -> int:
        """Return an entry of a configuration.

        Raises:
            InvalidInput: there is none, or it is no number.
        """
        entries = self.configs.get(config, {})
        if key not in entries:
            raise InvalidInput(f"{where}: {config} of parameters.h has no '{key}'. Is the project complete?")
        return self.product(entries[key], where)

    def product(self, text: str, where: str) -> int:
        """Evaluate numbers and constants joined by ``*``.

        Raises:
            InvalidInput: it is anything else.
        """
        total = 1
        for word in text.split("*"):
            name = word.strip()
            value = self.constants.get(name, int(name) if re.fullmatch(r"\d{1,9}", name) else None)
            if value is None:
                raise InvalidInput(f"{where}: '{text.strip()}' is not a product of numbers and constants of defines.h.")
            total *= value
        return total


def fixed_type(text: str, where: str) -> FixedType:
    """Read ``ap_ufixed<12,3,AP_RND_CONV,AP_SAT>`` or ``ap_int<8>``.

    Raises:
        InvalidInput: it is none of these, or has modes that the flow cannot lower.
    """
    found = _FIXED.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"{where}: {text} is not a fixed-point type.")
    if found[4]:
        return FixedType(not found[3], int(found[4]), int(found[4]))
    words = [word.strip().removeprefix("AP_") for word in found[2].split(",")]
    modes = [*words[2:4], *("TRN", "WRAP")[max(len(words) - 2, 0) :]]
    if len(words) > 5 or len(words) < 2 or not all(re.fullmatch(r"-?\d{1,4}", w) for w in words[:2]) or words[4:] not in ([], ["0"]):
        raise InvalidInput(f"{where}: {text} is not a type that can be lowered; it needs a width, integer bits and no saturation bits.")
    rounding: Rounding = modes[0]  # type: ignore[assignment]
    saturation: Saturation = modes[1]  # type: ignore[assignment]
    try:
        return FixedType(not found[1], int(words[0]), int(words[1]), rounding, saturation)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None


def read_text(path: Path) -> str:
    """Read a text file of a project.

    Raises:
        MissingInput: there is no such file.
        InvalidInput: it is too large, or no text.
    """
    if not path.is_file():
        raise MissingInput(f"{path}: there is no such file. Give the folder of an hls4ml project, with firmware/ inside.")
    if path.stat().st_size > MOST_BYTES:
        raise InvalidInput(f"{path}: it has more than {MOST_BYTES} bytes, so it is not what hls4ml writes.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: this is not a text file ({error.reason} at byte {error.start}).") from None


def parse(firmware: Path) -> Source:
    """Read ``defines.h``, ``parameters.h`` and the C++ file with the layers.

    Args:
        firmware: that folder of a project.

    Raises:
        MissingInput: one of the files is not there.
        InvalidInput: there are no layers in them.
    """
    defines, parameters = (_plain(read_text(firmware / name)) for name in ("defines.h", "parameters.h"))
    network = _network(firmware)
    both = defines + "\n" + parameters
    calls = tuple(
        Call(m[1], _split(m[2]), _split(m[3]), m[4] or "") for m in _CALL.finditer(network) if m[1] not in _SKIPPED
    )  # fmt: skip
    constants = {m[1]: int(m[2]) for m in re.finditer(r"^[ \t]*#define[ \t]+(\w+)[ \t]+(\d{1,9})[ \t]*$", both, re.MULTILINE)}
    types = {m[2]: m[1].strip() for m in re.finditer(r"^typedef[ \t]+([^;\n]+)[ \t](\w+);", both, re.MULTILINE)}
    head = network.split("{", 1)[0]
    source = Source(
        constants, types, _configs(parameters), calls, dict(re.findall(r"auto ?& ?(\w+) = (\w+);", network)), {},
        _inputs(head),
    )  # fmt: skip
    return Source(**{**source.__dict__, "sizes": _sizes(source, network)})


def _inputs(head: str) -> tuple[tuple[str, str], ...]:
    """Return type and name of each parameter of the top function that is an input."""
    words = (
        re.fullmatch(r"\s*(?:hls::stream<)?(\w+)>?[ &*]+(\w+)(?:\[[^\]]*\])?[\s)]*", text) for text in head.partition("(")[2].split(",")
    )
    return tuple((found[1], found[2]) for found in words if found and "input" in found[1])


def _network(firmware: Path) -> str:
    files = sorted(firmware.glob("*.cpp"))
    texts = [_plain(read_text(file)) for file in files]
    found = [text for text in texts if _CALL.search(text)]
    if not files:
        raise MissingInput(f"{firmware}: there is no C++ file with the layers. Copy <project>.cpp of the project into it.")
    if len(found) != 1:
        raise InvalidInput(f"{firmware}: {len(found)} of {len(files)} C++ files have layers (nnet::...), where one was expected.")
    return found[0]


def _plain(text: str) -> str:
    """Remove ``/* comments */`` in one pass, however many are not closed."""
    kept, rest = [], text
    while rest:
        before, _, comment = rest.partition("/*")
        kept.append(before)
        rest = comment.partition("*/")[2]
    return "".join(kept)


def _configs(parameters: str) -> dict[str, dict[str, str]]:
    configs = {}
    for chunk in re.split(r"^struct[ \t]+", parameters, flags=re.MULTILINE)[1:]:
        name, body = re.match(r"\w*", chunk), chunk.partition("\n};")[0]
        entries = re.findall(r"^[ \t]*static const [\w:]+[ \t]+(\w+)[ \t]*=[ \t]*([^;\n]+);", body, re.MULTILINE)
        entries += [(key, kind.strip()) for kind, key in re.findall(r"^[ \t]*typedef[ \t]+([^;\n]+)[ \t](\w+);", body, re.MULTILINE)]
        configs[name[0] if name else ""] = dict(entries)
    return configs


def _sizes(source: Source, network: str) -> dict[str, tuple[int, ...]]:
    found = re.findall(r"^[ \t]*\w+_t[ \t]+(\w+)\[([^\]\n]+)\]", network, re.MULTILINE)
    found += re.findall(r"^[ \t]*nnet::save_layer_output<[^()\n]*>\((\w+), *\"[^\"\n]*\", *([^)\n]+)\)", network, re.MULTILINE)
    return {name: tuple(source.product(word, f"size of {name}") for word in text.split("*")) for name, text in found}


def _split(text: str) -> tuple[str, ...]:
    """Cut at commas outside of angle brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "<") - (character == ">")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return tuple(part.strip() for part in parts)
