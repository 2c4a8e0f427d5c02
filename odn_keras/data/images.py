"""Image files as arrays. Needs NumPy and Pillow (9.4 or later) only."""

import functools
import os
import warnings
from collections.abc import Callable
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from odn_keras.data.resizing import STRETCH, scaled_size
from odn_keras.errors import InputError

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # others, as EPS, run programs
MODES = {1: "L", 3: "RGB"}
GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")
SIXTEEN_BITS_AS_I = ("PNG", "PPM")  # formats without 32-bit pixels, of which Pillow makes mode I all the same
ORIENTATION = 0x0112  # EXIF
TURNED = (5, 6, 7, 8)  # orientations that swap height and width

MOST_CUT = 16  # times the area that is kept of an image that is cut to its middle, and scaled whole

T = TypeVar("T")


class UnreadableImage(InputError):
    """An image file that cannot be read.

    Attributes:
        reason: why, in short.
        is_image: whether its content is at least that of an image in one of `FORMATS`.
    """

    def __init__(self, file, reason: str, is_image: bool = True):
        super().__init__(f"cannot read the image {file} ({reason})")
        self.reason, self.is_image = reason, is_image


def read_image(
    file: str | os.PathLike | BinaryIO,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    resize: str = STRETCH,
) -> np.ndarray:
    """Reads an image as a person sees it: turned upright, and what is transparent on white.

    Args:
        file: in one of `FORMATS`; a path, or a file that is open for reading.
        size: (height, width) in pixels to which it is resized (bilinear); default: as it is.
        channels: 1 or 3; default: 1 for a grey image, else 3.
        resize: how: one of `odn_keras.data.resizing.RESIZES`.

    Returns:
        uint8 pixels of shape (height, width, channels).

    Raises:
        UnreadableImage: where the file cannot be read as an image of 8 or 16 bits a channel.
    """
    return _opened(file, functools.partial(_decode, file=file, size=size, channels=channels, resize=resize))


def image_shape(file: str | os.PathLike | BinaryIO) -> tuple[int, int, int]:
    """(height, width, channels) that `read_image` would return, without decoding the pixels.

    Raises:
        UnreadableImage: where the file does not begin as an image.
    """
    return _opened(file, _shape)


@functools.cache
def image_suffixes() -> frozenset[str]:
    """The endings of file names, as ".jpg", that promise one of `FORMATS`."""
    Image.init()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS)


def _opened(file: str | os.PathLike | BinaryIO, use: Callable[[Image.Image], T]) -> T:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as stored:
                return use(stored)
    except (UnreadableImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(file, "no image of a known format is in it", is_image=False) from error
    except OSError as error:
        raise UnreadableImage(file, error.strerror or str(error)) from error
    except Exception as error:  # Pillow's readers have many
        raise UnreadableImage(file, f"{type(error).__name__}: {error}") from error


def _shape(stored: Image.Image) -> tuple[int, int, int]:
    width, height = (_upright(stored) if stored.format == "TIFF" else stored).size
    # Pillow turns a TIFF itself, and decodes a PNG to look for what is not in its beginning.
    known = stored.format != "TIFF" and (stored.format != "PNG" or "exif" in stored.info)
    if known and stored.getexif().get(ORIENTATION) in TURNED:
        width, height = height, width
    return height, width, 1 if stored.mode in GREY_MODES else 3


def _decode(stored: Image.Image, file, size: tuple[int, int] | None, channels: int | None, resize: str) -> np.ndarray:
    upright = _upright(stored)
    if upright.mode.startswith("I;16") or (upright.mode == "I" and stored.format in SIXTEEN_BITS_AS_I):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.mode in ("I", "F"):
        raise UnreadableImage(file, "32 bits a pixel; save it with 8 or 16")
    channels = channels or (1 if upright.mode in GREY_MODES else 3)
    if _has_transparency(upright):
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    image = upright.convert(MODES[channels])
    if size:
        image = _resized(image, size, resize)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)


def _resized(image: Image.Image, size: tuple[int, int], resize: str) -> Image.Image:
    height, width = scaled_size((image.height, image.width), size, resize)
    if height * width > MOST_CUT * size[0] * size[1]:  # of a long strip: only what is kept is scaled
        high, wide = (kept / side for kept, side in zip(size, (height, width), strict=True))
        left, above = image.width * (1 - wide) / 2, image.height * (1 - high) / 2
        box = left, above, image.width - left, image.height - above
        return image.resize(size[::-1], Image.Resampling.BILINEAR, box)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, above = (size[1] - width) // 2, (size[0] - height) // 2
    return image.crop((-left, -above, size[1] - left, size[0] - above))  # what lies outside is black


def _upright(stored: Image.Image) -> Image.Image:
    if stored.format != "TIFF":
        return ImageOps.exif_transpose(stored)
    stored.load()  # turns it; `exif_transpose` of Pillow 9 would do so again
    return stored


def _has_transparency(image: Image.Image) -> bool:
    """`Image.has_transparency_data`, which Pillow has from 10.1 on."""
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return True
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")
