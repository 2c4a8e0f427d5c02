"""Prints text of the user on any terminal or pipe."""

import sys
import unicodedata
from typing import TextIO

CONTROLS = ("Cc", "Zl", "Zp")  # would move the cursor, begin another line or another column


def never_fail(*streams: TextIO) -> None:
    r"""Lets streams print every text: what their encoding lacks comes out escaped, as `\u732b`.

    Args:
        streams: default: stdout and stderr. Those that are no files of the system stay as they are.
    """
    for stream in streams or (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and not _takes_all(stream):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    r"""The text on one line: control characters are escaped.

    >>> print(printable("two\nlines"))
    two\nlines
    """
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in CONTROLS else c for c in text)


def _takes_all(stream: TextIO) -> bool:
    """True where names of files that cannot be decoded are printed as their bytes, as in the C locale."""
    return stream.errors == "surrogateescape" and stream.encoding.lower().replace("-", "") == "utf8"
