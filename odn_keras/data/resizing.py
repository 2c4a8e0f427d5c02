"""Sizes of images as users write them, and the ways to resize images to one size. Needs no library."""

import numbers
import operator

from odn_keras.errors import InputError

# stretch: to the size, whatever that does to the proportions; crop: the middle part of the right proportions; pad: the
# whole image, with black borders.
RESIZES = STRETCH, CROP, PAD = "stretch", "crop", "pad"
LARGEST = 4096

Size = tuple[int, int]


def parse_size(size) -> Size | None:
    """(height, width) of a size as users give it: one number for both, "96x64", or the two; `None` of `None`.

    Raises:
        InputError: for anything else, or sizes of which there are no images.

    >>> parse_size(96), parse_size("96x64"), parse_size((96, 64))
    ((96, 96), (96, 64), (96, 64))
    """
    if size is None:
        return None
    parts = size
    if isinstance(size, str):
        words = size.lower().split("x")
        parts = [int(word) for word in words * (3 - len(words)) if word.isdecimal()]
    elif isinstance(size, numbers.Integral):
        parts = (size, size)
    try:
        height, width = map(operator.index, parts)
    except (TypeError, ValueError):
        height = width = 0
    if 1 <= height <= LARGEST and 1 <= width <= LARGEST:
        return height, width
    raise InputError(f"image_size must be pixels from 1 to {LARGEST}, as 96 or 96x64 (height x width), got {size!r}")


def scaled_size(shape: Size, size: Size, resize: str) -> Size:
    """(height, width) to which an image is scaled, before its middle is cut out or borders are added to it.

    >>> scaled_size((40, 80), (30, 30), "crop"), scaled_size((40, 80), (30, 30), "pad")
    ((30, 60), (15, 30))
    """
    if resize == STRETCH:
        return size
    ratios = [to / side for to, side in zip(size, shape, strict=True)]
    scale = max(ratios) if resize == CROP else min(ratios)
    height, width = (max(1, int(scale * side + 0.5)) for side in shape)
    return height, width


def write_size(size) -> str | None:
    """A size in the form of `parse_size` that files and command lines have.

    >>> write_size(96), write_size((96, 64))
    ('96', '96x64')
    """
    sides = parse_size(size)
    return sides and (str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}")
