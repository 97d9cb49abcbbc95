"""Reads Tomcat's files: XML without entities of its own, without a way out of the file.

No entity is declared or fetched and no DTD is read, so a file can neither open others nor grow on
its own. A bare ``<!DOCTYPE web-app PUBLIC ...>``, as in old web.xml files, is passed over. The
parser is expat, of the standard library, which here only ever calls what stands below.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from clustersession.core.errors import ConfigurationError

FILE_BYTES_MAX = 4 * 2**20
DEPTH_MAX = 64
ELEMENTS_MAX = 50_000


@dataclass(slots=True)
class Element:
    """Is an element: its name without prefix, attributes, text, children, where it begins."""

    name: str
    attributes: dict[str, str]
    file: str
    line: int
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def named(self, *names: str) -> Iterator["Element"]:
        """List the children of these names, in the file's order."""
        return (child for child in self.children if child.name in names)


def read_xml(path: Path) -> Element:
    """Read the root element of a file.

    Raises ConfigurationError in one sentence for whatever is wrong with the file: it cannot be
    read, is no XML, declares entities or has an inner DTD, is too large or too deep.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigurationError(f"{path} is larger than {FILE_BYTES_MAX // 2**20} MiB")
    return _XmlReader(path.name).read(content)


class _XmlReader:
    """Builds the tree from expat's calls.

    State: ``_open`` are the elements that have begun and not ended, the outermost first;
    ``_texts``, the pieces of text of each, joined at its end because a text may have millions;
    ``_root``, the first of all, None before it; ``_elements`` counts what has begun.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._root: Element | None = None
        self._elements = 0
        self._parser = parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._entity
        parser.ExternalEntityRefHandler = self._outside
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def read(self, content: bytes) -> Element:
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            raise ConfigurationError(
                f"{self._file}, line {error.lineno}: this is no XML ({what})"
            ) from None
        # An encoding that Python does not know, or that does not fit into expat's tables.
        except (LookupError, ValueError) as error:
            raise ConfigurationError(f"{self._file} is in no usable encoding: {error}") from None
        assert self._root is not None
        return self._root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > ELEMENTS_MAX or len(self._open) >= DEPTH_MAX:
            raise self._refused("there are too many elements, or too deep ones")
        element = Element(name.rpartition(":")[2], attributes, self._file, self._line())
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)
        self._texts.append([])

    def _end(self, name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop()).strip()

    def _characters(self, text: str) -> None:
        self._texts[-1].append(text)

    def _doctype(self, name: str, system: str | None, public: str | None, inner: int) -> None:
        if inner:
            raise self._refused(
                "declarations inside <!DOCTYPE [...]> are not read; write out what its entities "
                "stand for"
            )

    def _entity(self, *declaration: object) -> None:
        raise self._refused("entities are not read; write out what they stand for")

    def _outside(self, *reference: object) -> int:
        raise self._refused("other files are not read; put their text in its place")

    def _line(self) -> int:
        return self._parser.CurrentLineNumber

    def _refused(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._file}, line {self._line()}: {what}")
