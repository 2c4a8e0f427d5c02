"""A picture of training images before and after augmentation."""

import os
from collections.abc import Sequence

import numpy as np

from odn_keras.data.batches import Batches
from odn_keras.files import replacing
from odn_keras.utils.plain_text import missing_glyphs_allowed, shown

NAME_LENGTH = 14  # characters
PAIRS, PAIRS_IN_A_ROW = 24, 4
LEAST_SHARE = 0.05  # of a class in a mixed image, to be named


def plot_augmentation(batches: Batches, class_names: Sequence[str], path: str | os.PathLike) -> None:
    """Plots training images in pairs: as they are, and as the first batch has them, with their labels then."""
    from matplotlib.figure import Figure

    originals, changed, targets = batches.examples(PAIRS)
    columns = 2 * PAIRS_IN_A_ROW
    rows = -(-len(originals) // PAIRS_IN_A_ROW)
    figure = Figure(figsize=(1.25 * columns, 1.55 * rows + 0.5), layout="constrained")
    figure.suptitle("Training images: as they are (left), as the first batch has them (right)", fontsize="medium")
    grid = figure.subplots(rows, columns, squeeze=False)
    for place in grid.flat:
        place.set_axis_off()
    for number, images in enumerate(zip(originals, changed, strict=True)):
        row, column = divmod(number, PAIRS_IN_A_ROW)
        for side, image in enumerate(images):
            place = grid[row, 2 * column + side]
            colours = image.shape[-1] == 3
            place.imshow(image if colours else image[..., 0], cmap="gray", vmin=0, vmax=255)
        likely = np.argsort(-targets[number], kind="stable")[:2]
        names = [shown(class_names[label], NAME_LENGTH) for label in likely]
        mixed = targets[number][likely[1]] >= LEAST_SHARE  # not only smoothed
        lines = [f"{name} {targets[number][label]:.0%}" for name, label in zip(names, likely, strict=True)]
        place.set_title("\n".join(lines) if mixed else names[0], fontsize="x-small", parse_math=False)
    with replacing(path) as temporary, missing_glyphs_allowed():
        figure.savefig(temporary, dpi=100)
