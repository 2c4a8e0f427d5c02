"""Describes a run before it trains: its images, its networks and their predicted sizes, its goal."""

import keras
import numpy as np

from odn_keras.data.datasets import Dataset
from odn_keras.networks import footprint
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.runs.options import RunOptions
from odn_keras.utils.metric_names import in_words

MOST_ROWS = 20  # classes listed one by one
NAME_WIDTH = 24
SPLITS = ("train", "validation", "test")


def describe_data(dataset: Dataset) -> str:
    """A table of size, channels and number of the images, in all and for each class and split.

    With more than 20 classes it has a row for the smallest, the median and the largest of them.
    """
    height, width, channels = dataset.input_shape
    counts = np.array([np.bincount(getattr(dataset, split)[1], minlength=dataset.num_classes) for split in SPLITS])
    colours = "1 channel (grey)" if channels == 1 else f"{channels} channels"
    lines = [f"{dataset.name}: {dataset.num_classes} classes of {height}x{width} pixels, {colours}"]
    lines.append(_row("images", *SPLITS))
    if dataset.num_classes <= MOST_ROWS:
        lines += [_row(name, *numbers) for name, numbers in zip(dataset.class_names, counts.T, strict=True)]
    else:
        order = np.argsort(counts.sum(axis=0), kind="stable")
        for which, place in (("smallest", 0), ("median", len(order) // 2), ("largest", -1)):
            chosen = order[place]
            lines.append(_row(f"{which} class: {dataset.class_names[chosen]}", *counts[:, chosen]))
    lines.append(_row("all", *counts.sum(axis=1)))
    return "\n".join(lines)


def describe_network(asked: RunOptions, options: RunOptions, spec: NetworkSpec, first: int) -> str:
    """Describes the networks that the run may end with, with predicted sizes of the shallowest and the deepest.

    Args:
        asked: the options as given.
        options: the same after a budget has made the network smaller, if there is one.
        spec: the architecture of `options`.
        first: the depth at which the run begins.
    """
    deepest = options.depth or options.max_depth or spec.max_depth
    depths = f"depth {first}" if first == deepest else f"depth {first} to {deepest}"
    lines = [f"{spec.name} of width {spec.width}, stem stride {spec.stem_stride}, {depths} of {spec.max_depth}"]
    if changes := budget_changes(asked, options):
        lines.append(f"  the budget asks for a smaller network: {changes}")
    budget = options.budget
    on_device = f"{'ms on ' + budget.room.device:>24}" if budget.room and budget.room.instructions_per_ms else ""
    lines.append(f"  {'predicted':<10}{'flash, bytes':>16}{'arena, bytes':>16}{'MACs an image':>18}{on_device}")
    for depth in dict.fromkeys((first, deepest)):
        graph = footprint.of_spec(spec, depth, budget.kernels)
        time = f"{budget.milliseconds(spec, depth):>24.3g}" if on_device else ""
        sizes = f"{graph.flash_bytes:>16,}{graph.arena_bytes:>16,}{graph.macs:>18,}{time}"
        lines.append(f"  {f'depth {depth}':<10}{sizes}")
    return "\n".join(lines)


def budget_changes(asked: RunOptions, options: RunOptions) -> str:
    """Describes what a budget has changed of the network asked for; empty where nothing.

    >>> from dataclasses import replace
    >>> budget_changes(RunOptions(), replace(RunOptions(), width=12, stem_stride=2, max_depth=3))
    'width 12 instead of 64, stem stride 2 instead of 1, at most depth 3'
    """
    changes = [
        f"{name} {now} instead of {before}"
        for name, before, now in (
            ("width", asked.width, options.width),
            ("stem stride", asked.stem_stride, options.stem_stride),
        )
        if now != before
    ]
    if options.max_depth != asked.max_depth:
        changes.append(f"at most depth {options.max_depth}")
    return ", ".join(changes)


def describe_goal(options: RunOptions, steps: int, dtype: str) -> str:
    """Target, length and set-up of the training.

    Args:
        options: of the run.
        steps: training steps of an epoch.
        dtype: the Keras dtype policy.
    """
    metric = in_words(options.target_metric)
    goal = "no target" if options.target_accuracy is None else f"target: validation {metric} {options.target_accuracy}"
    return (
        f"{goal}; at most {options.epochs} epochs of {steps:,} steps of {options.batch_size} images, "
        f"{keras.backend.backend()}, {dtype}"
    )


def _row(name: str, *numbers) -> str:
    shown = name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
    return f"  {shown:<{NAME_WIDTH}}" + "".join(f"{n if isinstance(n, str) else f'{n:,}':>12}" for n in numbers)
