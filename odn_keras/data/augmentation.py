"""Random changes of training images, a batch at a time. The numbers drawn depend on the generator alone.

Geometry, colour, erasing, and the mixing of two images (mix-up, arXiv 1710.09412; cut-mix, arXiv 1905.04899; random
erasing, arXiv 1708.04896). The pixels are changed by OpenCV, which lets other threads run meanwhile.
"""

import dataclasses
import functools
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odn_keras.data.presets import PRESETS
from odn_keras.errors import InputError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue: ITU-R BT.601
MOST_CHANNELS = 4  # of OpenCV's warps
ERASED_LEAST = 0.02  # of the image's area
ERASED_SHAPE = 3.3  # largest ratio of the sides
ERASE_PROBABILITY = 0.5
KINDS_OF_SIGNS = ("digit", "digits", "number", "letter", "character", "char", "numeral", "class", "label", "sign")
SIDES = {"left", "right"}
NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# RGB to luma and two colour axes (YIQ), in which a change of hue is a rotation.
YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)


@dataclass(frozen=True)
class Draws:
    """Random numbers drawn for the images of a batch: arrays of length n.

    Attributes:
        affine: output to input coordinates (x, y), of shape (n, 2, 3); `None` where no image moves.
        colour: matrices of shape (n, channels, channels) that the pixels are multiplied by; `None` without colour.
        contrast: factors of the distance from the image's mean, which `colour` contains already.
        erased: (top, left, bottom, right) of what is erased, in pixels, of shape (n, 4); `None` without erasing.
        fill: the colours put there, of shape (n, channels).
        partner: which image of the batch is mixed in; `None` without mixing.
        kept: how much of the image itself is left, in [0, 1].
        boxes: where the partner replaces it, as `erased`; `None` where the two are blended.
    """

    affine: np.ndarray | None = None
    colour: np.ndarray | None = None
    contrast: np.ndarray | None = None
    erased: np.ndarray | None = None
    fill: np.ndarray | None = None
    partner: np.ndarray | None = None
    kept: np.ndarray | None = None
    boxes: np.ndarray | None = None

    def of(self, rows: np.ndarray | slice) -> "Draws":
        """The draws of some of the images."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Draws(**{name: None if array is None else array[rows] for name, array in arrays.items()})


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images; the default changes nothing.

    Attributes:
        shift: largest shift in each direction, in pixels; alone it is by whole pixels, as padding and cropping.
        rotate: largest rotation, in degrees.
        zoom: largest relative change of size in each direction (0.1: 90 % to 110 %).
        flip: whether to mirror left and right, each with probability one half.
        brightness, contrast, saturation: largest relative change (0.2: 80 % to 120 %).
        hue: largest turn of the colour circle, in degrees.
        erase: largest part of the area that is replaced by one colour, in half of the images.
        mixup: alpha of the beta distribution by which two images and their labels are blended; 0 for none.
        cutmix: alpha of that by which a rectangle of another image is pasted in; with `mixup` as well each batch has
            one of the two.

    Raises:
        InputError: for a value out of range.

    >>> augmentation = Augmentation(shift=2, flip=True)
    >>> images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    >>> augmentation(images, np.random.default_rng(1)).shape
    (8, 32, 32, 3)
    """

    shift: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        limits = {"shift": np.inf, "rotate": 180, "hue": 180, "mixup": np.inf, "cutmix": np.inf}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float | np.number | np.bool_):
                raise InputError(f"{field.name} must be a number, got {value!r}")
            if not 0 <= value <= limits.get(field.name, 1) or not np.isfinite(value):
                raise InputError(f"{field.name} must be from 0 to {limits.get(field.name, 1):g}, got {value}")
        if self.zoom == 1:
            raise InputError("zoom must be below 1, got 1: an image would vanish")

    @property
    def mixes(self) -> bool:
        """True where images are mixed, so that their labels must be of shape (n, classes)."""
        return self.mixup > 0 or self.cutmix > 0

    def __call__(
        self, images: np.ndarray, rng: np.random.Generator, labels: np.ndarray | None = None
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Changes a batch.

        Args:
            images: uint8 of shape (n, height, width, channels).
            rng: decides everything that is random.
            labels: probabilities of shape (n, classes), for mixing.

        Returns:
            As many images, and with `labels` those too.

        Raises:
            InputError: for images of another type than uint8, or that are mixed without labels of that shape.
        """
        if self.mixes and (labels is None or np.ndim(labels) != 2):
            raise InputError(
                "mixup and cutmix mix labels as well: give one-hot labels of shape (n, classes), and the model the "
                "loss categorical_crossentropy, not a sparse one"
            )
        self.check(images.shape[1:], images.dtype)
        draws = self.draw(rng, len(images), images.shape[1:])
        changed = self.change(images, draws)
        if draws.partner is not None and labels is not None:
            changed, labels = (
                mix(changed, changed[draws.partner], draws),
                mix_labels(labels, labels[draws.partner], draws),
            )
        return changed if labels is None else (changed, labels)

    def check(self, shape: Sequence[int], dtype: Any = np.uint8) -> None:
        """Raises `InputError` for images of a shape (height, width, channels) or type that it cannot change."""
        if self == Augmentation():
            return
        if dtype != np.uint8:
            raise InputError(f"images that are augmented must be pixels of type uint8, 0 to 255, got {dtype}")
        if shape[-1] > MOST_CHANNELS:
            raise InputError(f"images of at most {MOST_CHANNELS} channels can be augmented, these have {shape[-1]}")

    def draw(self, rng: np.random.Generator, count: int, shape: Sequence[int]) -> Draws:
        """Draws the changes of `count` images of shape (height, width, channels)."""
        self.check(shape)
        height, width, channels = shape
        drawn: dict[str, np.ndarray] = {}
        if self.shift or self.rotate or self.zoom or self.flip:
            drawn["affine"] = self._draw_affine(rng, count, height, width=width)
        if self.brightness or self.contrast or self.saturation or self.hue:
            drawn["colour"], drawn["contrast"] = self._draw_colour(rng, count, channels)
        if self.erase:
            area = rng.uniform(min(ERASED_LEAST, self.erase), self.erase, count)
            area *= rng.random(count) < ERASE_PROBABILITY
            drawn["erased"] = _draw_boxes(rng, area, height, width=width, shape=ERASED_SHAPE)
            drawn["fill"] = rng.integers(0, 256, (count, channels), dtype=np.uint8)
        if self.mixes:
            drawn["partner"] = rng.permutation(count)
            pasted = self.cutmix > 0 and (not self.mixup or rng.random() < 0.5)
            alpha = self.cutmix if pasted else self.mixup
            kept = rng.beta(alpha, alpha, count)
            if pasted:
                boxes = drawn["boxes"] = _draw_boxes(rng, 1 - kept, height, width=width)
                kept = 1 - (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (height * width)
            drawn["kept"] = kept.astype(np.float32)
        return Draws(**drawn)

    def _draw_affine(self, rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
        angle = np.deg2rad(rng.uniform(-self.rotate, self.rotate, count))
        scale = 1 + rng.uniform(-self.zoom, self.zoom, (count, 2))
        shift = rng.uniform(-self.shift, self.shift, (count, 2))
        if self._by_whole_pixels:
            shift = np.rint(shift)
        mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0) if self.flip else np.ones(count)
        cosine, sine = np.cos(angle), np.sin(angle)
        matrix = np.array([[cosine * mirror, -sine], [sine * mirror, cosine]]).transpose(2, 0, 1) / scale[:, np.newaxis]
        center = np.array([width - 1, height - 1]) / 2
        offset = center - np.einsum("nij,nj->ni", matrix, center + shift)
        return np.concatenate([matrix, offset[..., np.newaxis]], axis=-1)

    def _draw_colour(self, rng: np.random.Generator, count: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
        def factor(largest: float) -> np.ndarray:
            return 1 + rng.uniform(-largest, largest, count).astype(np.float32)

        brightness, contrast, saturation = factor(self.brightness), factor(self.contrast), factor(self.saturation)
        angle = np.deg2rad(rng.uniform(-self.hue, self.hue, count).astype(np.float32))
        gain = (brightness * contrast)[:, np.newaxis, np.newaxis]
        if channels != 3:
            return gain * np.eye(channels, dtype=np.float32), contrast
        turn = np.zeros((count, 3, 3), np.float32)
        turn[:, 0, 0] = 1
        turn[:, 1, 1] = turn[:, 2, 2] = saturation * np.cos(angle)
        turn[:, 1, 2], turn[:, 2, 1] = -saturation * np.sin(angle), saturation * np.sin(angle)
        return gain * (np.linalg.inv(YIQ) @ turn @ YIQ), contrast

    @property
    def _by_whole_pixels(self) -> bool:
        return not (self.rotate or self.zoom)

    def change(self, images: np.ndarray, draws: Draws) -> np.ndarray:
        """Changes uint8 images of shape (n, height, width, channels), but for mixing, as was drawn for each of them."""
        cv2 = _opencv()
        _, height, width, channels = images.shape
        images = np.ascontiguousarray(images)
        if draws.affine is not None:
            interpolation = cv2.INTER_NEAREST if self._by_whole_pixels else cv2.INTER_LINEAR
            flags, moved = interpolation | cv2.WARP_INVERSE_MAP, np.empty_like(images)
            for image, matrix, target in zip(images, draws.affine, moved, strict=True):
                cv2.warpAffine(image, matrix, (width, height), target, flags, cv2.BORDER_REPLICATE)
            images = moved
        if draws.colour is not None and draws.contrast is not None:
            coloured = np.empty_like(images)
            for image, matrix, contrast, target in zip(images, draws.colour, draws.contrast, coloured, strict=True):
                mean = matrix @ np.array(cv2.mean(image)[:channels], np.float32) / contrast
                grey = mean @ LUMA if channels == 3 else mean.mean()
                offset = np.full((channels, 1), (1 - contrast) * grey, np.float32)
                cv2.transform(image, np.concatenate([matrix, offset], axis=1), target)
            images = coloured
        if draws.erased is not None and draws.fill is not None:
            images = images if draws.affine is not None or draws.colour is not None else images.copy()
            for image, (top, left, bottom, right), colour in zip(images, draws.erased, draws.fill, strict=True):
                image[top:bottom, left:right] = colour
        return images


def preset(name: str, image_shape: Sequence[int], *, mirror: bool) -> Augmentation:
    """The augmentation of a preset for images of shape (height, width, channels).

    Args:
        name: a key of `PRESETS`.
        image_shape: of the images; shifts are in proportion.
        mirror: whether an image and its mirror image are of the same class: not so of letters and digits.

    Raises:
        InputError: for an unknown name.

    >>> preset("light", (32, 32, 3), mirror=True)  # doctest: +ELLIPSIS
    Augmentation(shift=4.0, rotate=0.0, zoom=0.0, flip=True, ...
    """
    if name not in PRESETS:
        raise InputError(f"augment must be one of {', '.join(PRESETS)}, got {name!r}")
    values: dict[str, Any] = {key: value for key, value in PRESETS[name].items() if key != "label_smoothing"}
    if "shift" in values:
        values["shift"] *= min(image_shape[:2])
    return Augmentation(**{**values, "flip": bool(values.get("flip")) and mirror})


def label_smoothing(name: str) -> float:
    """The label smoothing of a preset."""
    return PRESETS[name].get("label_smoothing", 0.0)


def may_mirror(class_names: Sequence[str], channels: int) -> bool:
    """True where images of these classes may be mirrored: colour images, and no class is a letter, a digit or a side.

    >>> may_mirror(["cat", "dog"], 3), may_mirror(["0", "1", "none"], 3), may_mirror(["bag"], 1)
    (True, False, False)
    >>> may_mirror(["digit_0", "digit_1"], 3), may_mirror(["Letter A"], 3), may_mirror(["turn left", "stop"], 3)
    (False, False, False)
    """
    return channels == 3 and not any(map(_changes_in_a_mirror, class_names))


def _changes_in_a_mirror(class_name: str) -> bool:
    """True where images of a class of that name mean something else when mirrored."""
    words = re.findall(r"[^\W\d_]+|\d+", class_name.lower())
    signs = [word for word in words if word not in KINDS_OF_SIGNS]
    only_signs = all(len(word) == 1 or word.isdecimal() or word in NUMERALS for word in signs)
    return only_signs or not SIDES.isdisjoint(words)


@functools.cache
def _opencv() -> types.ModuleType:
    """OpenCV, for what changes images only: what measures files on a small board has no need of it.

    Its own threads are switched off, in the whole process: batches are made by several threads already, and more would
    get in the way of the training.
    """
    import cv2

    cv2.setNumThreads(1)
    return cv2


def mix(images: np.ndarray, partners: np.ndarray, draws: Draws) -> np.ndarray:
    """Mixes uint8 images with their partners, both of shape (n, height, width, channels), as was drawn."""
    cv2 = _opencv()
    mixed, shares = np.array(images), draws.kept
    if draws.boxes is not None:
        for image, partner, (top, left, bottom, right) in zip(mixed, partners, draws.boxes, strict=True):
            image[top:bottom, left:right] = partner[top:bottom, left:right]
        return mixed
    if shares is None:
        raise ValueError("no mixing was drawn")
    for image, partner, kept, target in zip(images, partners, shares, mixed, strict=True):
        cv2.addWeighted(image, float(kept), partner, float(1 - kept), 0, target)
    return mixed


def mix_labels(labels: np.ndarray, partners: np.ndarray, draws: Draws) -> np.ndarray:
    """Mixes probabilities of shape (n, classes) with those of their partners, as was drawn."""
    if draws.kept is None:
        raise ValueError("no mixing was drawn")
    kept = draws.kept[:, np.newaxis]
    return kept * labels + (1 - kept) * partners


def _draw_boxes(rng: np.random.Generator, area: np.ndarray, height: int, width: int, shape: float = 1.0) -> np.ndarray:
    """Rectangles (top, left, bottom, right) that cover these parts of the image's area where they lie within it.

    Args:
        rng: draws their places and forms.
        area: fraction of the image's area that each covers, shape (n,).
        height: of the image, in pixels.
        width: of the image, in pixels.
        shape: largest ratio of their sides to the image's, either way.
    """
    stretch = np.exp(rng.uniform(-np.log(shape), np.log(shape), len(area)) / 2)
    sides = np.sqrt(area)[:, np.newaxis] * np.stack([stretch, 1 / stretch], axis=1) * [height, width]
    centers = rng.random((len(area), 2)) * [height, width]
    corners = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    return np.clip(np.rint(corners), 0, [height, width] * 2).astype(np.int64)
