"""`--help` of a command: what fits on a screen, and a page for each group of flags."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

WIDTH, SCREEN = 80, 40  # columns and lines
NAMES, TEXTS = 20, 26  # columns at which the names of an overview begin, and the texts of a page
ALL = "all"


@dataclass(frozen=True)
class Group:
    """Flags that belong together.

    Attributes:
        name: one word, as in `--help=data`.
        title: what they are about.
        flags: their names, in the order in which they are explained.
        example: some of them in use; a command's own flags have theirs in its docstring.
    """

    name: str
    title: str
    flags: tuple[str, ...]
    example: str = ""


@dataclass(frozen=True)
class Flag:
    """A flag as a page shows it.

    Attributes:
        name: without dashes.
        value: what stands behind `=`; empty for a switch.
        text: explains it.
        default: `None` where the text says what happens without it.
    """

    name: str
    value: str
    text: str
    default: str | None = None


def help_text(about: str, command: str, groups: Iterable[Group], flags: Mapping[str, Flag], topic: str = "") -> str:
    """What `--help` prints.

    Args:
        about: the docstring of the command.
        command: its name.
        groups: in order; flags that are in none of them come first, as the command's own.
        flags: of the command, by name.
        topic: the group that is asked for, `"all"`, or nothing: then all where that fits on a screen, else an overview.

    Raises:
        KeyError: where there is no such group.
    """
    found = _groups_of(command, groups, flags)
    if topic and topic != ALL:
        return _page(found[topic], flags)
    intro = _wrapped(about)
    whole = "\n\n".join([intro, *(_page(group, flags) for group in found.values())])
    if topic == ALL or whole.count("\n") < SCREEN:
        return whole
    rows = [_row(f"  {group.name}", " ".join(f"--{name}" for name in group.flags), NAMES) for group in found.values()]
    how = f"Flags by subject; --help={next(iter(found))} explains those of the first, --help={ALL} all:"
    return "\n\n".join([intro, "\n".join([textwrap.fill(how, WIDTH), *rows])])


def topics(command: str, groups: Iterable[Group], flags: Iterable[str]) -> list[str]:
    """What `--help=` can be asked of a command."""
    return [*_groups_of(command, groups, flags), ALL]


def _groups_of(command: str, groups: Iterable[Group], flags: Iterable[str]) -> dict[str, Group]:
    """The groups with those of their flags that the command has, without empty ones."""
    groups, left = list(groups), list(flags)
    grouped = {name for group in groups for name in group.flags}
    own = Group(command, f"The flags of {command} alone", tuple(name for name in left if name not in grouped))
    found = [own]
    for group in groups:
        mine = tuple(name for name in group.flags if name in left)
        whole = len(mine) == len(group.flags)
        found.append(Group(group.name, group.title, mine, group.example if whole else ""))
    return {group.name: group for group in found if group.flags}


def _page(group: Group, flags: Mapping[str, Flag]) -> str:
    lines = [f"{group.title}:"]
    for name in group.flags:
        flag = flags[name]
        head = f"  --{name}={flag.value}" if flag.value else f"  --[no]{name}"
        text = flag.text if flag.default is None else f"{flag.text} [{flag.default}]"
        lines.append(_row(head, text, TEXTS))
    if group.example:
        lines.append(f"  for example {group.example}")
    return "\n".join(lines)


def _row(head: str, text: str, column: int) -> str:
    """A head and, from a column on, a text; below it where the head is too long."""
    indent = " " * column
    lines = textwrap.wrap(text, WIDTH - column, break_long_words=False, break_on_hyphens=False) or [""]
    if len(head) > column - 2:
        return "\n".join([head, *(indent + line for line in lines)])
    return "\n".join([head.ljust(column) + lines[0], *(indent + line for line in lines[1:])])


def _wrapped(about: str) -> str:
    """A docstring in short lines, of the program `odn`; indented lines, which are examples, stay as they are."""
    paragraphs: list[str] = []
    for paragraph in about.replace("python -m odn_keras.", "odn ").strip().split("\n\n"):
        lines: Sequence[str] = paragraph.splitlines()
        example = lines[0].startswith(" ")
        text = " ".join(line.strip() for line in lines)
        paragraphs.append(paragraph if example else textwrap.fill(text, WIDTH, break_on_hyphens=False))
    return "\n\n".join(paragraphs)
