"""Images and image files as data URIs, small enough to be part of a page."""

import base64
import io
import pathlib

import numpy as np
from PIL import Image

SMALL, LARGEST = 48, 96  # pixels: up to the first an image is kept as it is, beyond the second it is made smaller
LARGE_FILE, WIDEST = 250_000, 1200  # bytes from which on a picture is stored as JPEG, at most so many pixels wide


def uri(content: bytes, media_type: str) -> str:
    """The content as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def thumbnail(image: np.ndarray) -> str:
    """An image of a dataset: uint8, shape (height, width, channels); the first of other than 1, 3 or 4 channels."""
    channels = image.shape[-1]
    picture = Image.fromarray(image[..., :3] if channels in (3, 4) else image[..., 0])
    written = io.BytesIO()
    if max(picture.size) <= SMALL:
        picture.save(written, "PNG", optimize=True)
        return uri(written.getvalue(), "image/png")
    picture.thumbnail((LARGEST, LARGEST))
    picture.save(written, "JPEG", quality=80)
    return uri(written.getvalue(), "image/jpeg")


def picture_file(path: pathlib.Path) -> str:
    """A PNG file; a large one as JPEG."""
    content = path.read_bytes()
    if len(content) <= LARGE_FILE:
        return uri(content, "image/png")
    with Image.open(io.BytesIO(content)) as picture:
        small = picture.convert("RGB")
    small.thumbnail((WIDEST, 100 * WIDEST))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=80)
    return uri(written.getvalue(), "image/jpeg")
