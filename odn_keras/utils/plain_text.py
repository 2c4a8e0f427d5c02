"""Text of the user in pictures: class names with any characters."""

import contextlib
import unicodedata
import warnings
from collections.abc import Iterator

INVISIBLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, other line breaks


def shown(text: str, length: int = 16) -> str:
    r"""The text on one line of at most so many characters.

    >>> shown("a rather long name"), shown("two\nlines")
    ('a rather long n…', 'two lines')
    """
    line = "".join(" " if unicodedata.category(c) in INVISIBLE else c for c in text)
    return line if len(line) <= length else f"{line[: length - 1]}…"


@contextlib.contextmanager
def missing_glyphs_allowed() -> Iterator[None]:
    """Context manager: characters that Matplotlib's font lacks become boxes without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
