"""A parsed report: its elements, the text of its sections and the rows of its tables, and whether tags match."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from flprivacy.core.audit import Audit
from flprivacy.reporting.figures.plates import plates
from flprivacy.reporting.html import render

VOID = {"meta", "img", "br", "link", "input", "hr"}


def undrawn(audit: Audit, *change: Any, **more: Any) -> str:
    """Return the page with blanks for pictures: for tests of its words, as drawing them is most of the time."""
    return render(audit, *change, images={plate.name: "data:," for plate in plates(audit)}, **more)


@dataclass
class Table:
    """One table: its class, its rows of cell texts, and the attributes of each row."""

    name: str
    rows: list[list[str]] = field(default_factory=list)
    attributes: list[dict[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """Parses strictly: a tag that closes another than the last opened is an error."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: list[Table] = []
        self.sections: dict[str, str] = {}
        self.style = self.text = ""
        self._open: list[str] = []
        self._section = ""
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {k: v or "" for k, v in attrs}
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self._section = attributes["class"]
            self.sections[self._section] = ""
        elif tag == "table":
            self.tables.append(Table(attributes.get("class", "")))
        elif tag == "tr":
            self.tables[-1].rows.append([])
            self.tables[-1].attributes.append(attributes)
        elif tag in ("td", "th"):
            self.tables[-1].rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> closes <{self._open[-1]}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.style += data
            return
        self.text += data
        if self._section:
            self.sections[self._section] += data
        if {"td", "th"} & set(self._open):
            row = self.tables[-1].rows[-1]
            row[-1] = " ".join(f"{row[-1]} {data}".split())

    def table(self, name: str) -> Table:
        """Return the only table of a class."""
        (found,) = [t for t in self.tables if name in t.name.split()]
        return found

    def tags(self, name: str) -> list[dict[str, str]]:
        """Return the attributes of every element of a name."""
        return [attributes for tag, attributes in self.elements if tag == name]
