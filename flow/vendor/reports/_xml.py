"""XML that may come from anywhere: no document type, no entities, no depth, nothing outside the file."""

from pathlib import Path
from xml.parsers import expat

from flow.core.errors import InvalidInput
from flow.vendor.reports._source import cut_off, not_a_report, printable, read_bytes

DEEPEST = 64
MOST_TEXT = 4096
# The parser says this where a file just ends; everything else is damage.
_ENDS = ("no element found", "unclosed token", "unclosed CDATA section", "partial character")


class Elements:
    """Text and attributes of the elements of a document, by path (``profile/UserAssignments/Part``); the first of each path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text: dict[str, str] = {}
        self.attributes: dict[str, dict[str, str]] = {}
        self._stack: list[str] = []
        self._open: list[list[str]] = []

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._stack) >= DEEPEST:
            raise InvalidInput(f"{self.path}: elements are nested more than {DEEPEST} deep, which no report does.")
        self._stack.append(name)
        self._open.append([])
        self.attributes.setdefault("/".join(self._stack), {k: v for k, v in attributes.items() if printable(v)})

    def _characters(self, data: str) -> None:
        if self._open and len(self._open[-1]) < MOST_TEXT:
            self._open[-1].append(data)

    def _end(self, _: str) -> None:
        self.text.setdefault("/".join(self._stack), printable("".join(self._open.pop()).strip()) or "")
        self._stack.pop()

    def _refuse(self, *_: object) -> int:
        raise InvalidInput(f"{self.path}: it declares a document type or entities, which no report does; it is not read.")

    def read(self) -> "Elements":
        """Read the file.

        Raises:
            MissingInput: it is not there.
            InvalidInput: it is not XML, cut off, too deep, or declares a document type or entities.
        """
        data = read_bytes(self.path)
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = self._refuse
        parser.ExternalEntityRefHandler = parser.SkippedEntityHandler = self._refuse
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        try:
            parser.Parse(data, True)
        except (expat.ExpatError, LookupError, ValueError) as error:
            if str(error).startswith(_ENDS):
                missing = f"it ends inside <{self._stack[-1]}>" if self._stack else "it ends before the first element"
                raise cut_off(self.path, missing) from None
            raise not_a_report(self.path, "an XML report", str(error)[:120]) from None
        return self
