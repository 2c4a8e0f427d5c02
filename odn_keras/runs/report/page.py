"""A report as one HTML file that needs no network: sections of blocks, rendered by `page.html`."""

import importlib.resources
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from odn_keras import __version__
from odn_keras.files import replacing
from odn_keras.utils import colours

GOOD, BAD, PLAIN = "good", "bad", ""
JOINER = "\u2060"  # without it a browser breaks a line within the hyphens of a flag


@dataclass(frozen=True)
class Text:
    """A paragraph; `soft` for an explanation."""

    kind: ClassVar = "text"
    text: str
    soft: bool = False


@dataclass(frozen=True)
class Card:
    """A figure or a verdict that is seen first; `state` is GOOD, BAD or PLAIN."""

    title: str
    text: str
    state: str = PLAIN


@dataclass(frozen=True)
class Cards:
    """Cards side by side."""

    kind: ClassVar = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        headings: of the columns.
        rows: of the cells, each shown as `str` has it.
        caption: above the table.
        words: whether all cells are words, not numbers.
        names: how many of the first columns, 1 or 2, are words.
        marked: the rows, from 0, to look at.
    """

    kind: ClassVar = "table"
    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    words: bool = False
    names: int = 1
    marked: Collection[int] = ()


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, with what it shows as caption; `alt` says it to those who cannot see it."""

    picture: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Figures:
    """Figures side by side where there is room; a `wide` one is never smaller than is readable."""

    kind: ClassVar = "figures"
    figures: Sequence[Figure]
    wide: bool = False


@dataclass(frozen=True)
class Example:
    """An image of a gallery as a data URI, the lines below it and, where an answer is wrong, that answer."""

    picture: str
    alt: str
    lines: Sequence[str] = ()
    wrong: str = ""


@dataclass(frozen=True)
class Gallery:
    """Images side by side."""

    kind: ClassVar = "gallery"
    items: Sequence[Example]


@dataclass(frozen=True)
class Classes:
    """A row of images for each class, by its name."""

    kind: ClassVar = "classes"
    classes: Mapping[str, Sequence[Example]]


@dataclass(frozen=True)
class Commands:
    """Commands to copy."""

    kind: ClassVar = "commands"
    commands: Sequence[str]


@dataclass(frozen=True)
class Folded:
    """Blocks that are shown when the title is clicked."""

    kind: ClassVar = "folded"
    title: str
    blocks: Sequence["Block"]


Block = Text | Cards | Table | Figures | Gallery | Classes | Commands | Folded


@dataclass(frozen=True)
class Section:
    """A part of the page below a heading."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: of the page.
        lead: what comes first: the verdict.
        sections: what follows.
    """

    title: str
    lead: Sequence[Block]
    sections: Sequence[Section] = field(default=())

    def html(self) -> str:
        """The page; whatever comes from the user is escaped."""
        import jinja2

        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        environment.filters["unbroken"] = lambda text: text.replace("--", f"-{JOINER}-{JOINER}")
        template = environment.from_string(
            importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
        )
        return template.render(
            title=self.title,
            lead=self.lead,
            sections=self.sections,
            good=colours.GOOD,
            bad=colours.BAD,
            footer=f"Written by odn_keras {__version__}. This file needs no other file and no network.",
        )

    def write(self, path: str | os.PathLike) -> None:
        """Writes the page as a file, whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_text(self.html(), encoding="utf-8", errors="backslashreplace")
