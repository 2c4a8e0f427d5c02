"""A picture of where images leave a network."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from odn_keras.data.disk_images import Images
from odn_keras.files import replacing
from odn_keras.utils.plain_text import missing_glyphs_allowed, shown

EXAMPLES = 8  # of each exit


@dataclass(frozen=True)
class RoutedImages:
    """Images, and where each leaves a network.

    Attributes:
        images: uint8, shape (n, height, width, channels).
        labels: their classes, shape (n,).
        answers: the classes that the routed network predicts, shape (n,).
        exits: where each image leaves, from 0, shape (n,).
        class_names: of all classes.
        stages: how many exits there are, the end included.
    """

    images: Images
    labels: np.ndarray
    answers: np.ndarray
    exits: np.ndarray
    class_names: Sequence[str]
    stages: int

    @property
    def shares(self) -> np.ndarray:
        """Fraction of the images that leave at each exit, the end included."""
        return np.bincount(self.exits, minlength=self.stages) / len(self.labels)


def plot_routing(routed: RoutedImages, path: str | os.PathLike) -> None:
    """Plots a row for each exit: the share of images that leave there, and the first few of them.

    Each image has its class as title and, where the answer is wrong, the answer below it in red.
    """
    figure = routing_figure(routed)
    with replacing(path) as temporary, missing_glyphs_allowed():
        figure.savefig(temporary, dpi=100)


def routing_figure(routed: RoutedImages) -> Figure:
    """The figure that `plot_routing` writes."""
    shares, class_names = routed.shares, routed.class_names
    figure = Figure(figsize=(1.4 * EXAMPLES + 2, 1.6 * len(shares)), layout="constrained")
    axes = figure.subplots(len(shares), EXAMPLES + 1, squeeze=False, width_ratios=[1.6, *[1] * EXAMPLES])
    for number, (share, row) in enumerate(zip(shares, axes, strict=True), start=1):
        last = number == len(shares)
        row[0].text(0, 0.5, f"{'end' if last else f'exit {number}'}\n{share:.1%}", va="center", fontsize=14)
        chosen = np.flatnonzero(routed.exits == number - 1)[:EXAMPLES]
        for place, index in zip(row[1:], chosen, strict=False):
            image, label, answer = routed.images[int(index)], routed.labels[index], routed.answers[index]
            colours = image.shape[-1] in (3, 4)
            place.imshow(image[..., :3] if colours else image[..., 0], cmap="gray", vmin=0, vmax=255)
            said = "" if answer == label else f"\nsays {shown(class_names[answer])}"
            color = "red" if said else "black"
            place.set_title(shown(class_names[label]) + said, fontsize=8, color=color, parse_math=False)
        for place in row:
            place.set_axis_off()
    return figure
