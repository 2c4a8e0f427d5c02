"""Image files as arrays. Needs NumPy and Pillow only."""

import os
import warnings

import numpy as np
from PIL import Image, ImageOps

from odn_keras.errors import InputError

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # others, as EPS, run programs
MODES = {1: "L", 3: "RGB"}


def read_image(file: str | os.PathLike, size: tuple[int, int] | None = None, channels: int | None = None) -> np.ndarray:
    """Reads an image as a person sees it: turned upright, and what is transparent on white.

    Args:
        file: in one of `FORMATS`.
        size: (height, width) in pixels to which it is resized (bilinear); default: as it is.
        channels: 1 or 3; default: 1 for a grey image, else 3.

    Returns:
        uint8 pixels of shape (height, width, channels).

    Raises:
        InputError: where the file cannot be read as an image of 8 or 16 bits a channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as stored:
                upright = ImageOps.exif_transpose(stored)
                if upright.mode.startswith("I;16"):
                    upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
                if upright.mode in ("I", "F"):
                    raise InputError(f"cannot read the image {file}: 32 bits a pixel; save it with 8 or 16")
                channels = channels or (1 if upright.mode in ("1", "L", "LA") else 3)
                if upright.has_transparency_data:
                    upright = upright.convert("RGBA")
                    upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
                image = upright.convert(MODES[channels])
                if size:
                    image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
                pixels = np.asarray(image, dtype=np.uint8)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"cannot read the image {file} ({type(error).__name__}: {error})") from error
    return pixels.reshape(*pixels.shape[:2], channels)
