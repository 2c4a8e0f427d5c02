"""What classifiers answer to labelled images, as sections of a page: classes, confusions, mistakes, examples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from odn_keras.data.disk_images import Images
from odn_keras.runs.report.page import Block, Classes, Example, Figure, Figures, Folded, Gallery, Section, Table, Text
from odn_keras.runs.report.pictures import thumbnail
from odn_keras.utils.scores import METRICS, ClassScores, score

MISTAKES = 24
EXAMPLES, EXAMPLES_EACH = 200, 8  # of all classes together, and of one at most
CONFUSED = 12  # pairs of classes
SHOWN_CLASSES = 20  # from so many on the examples are folded
WEAK = 0.1  # below the mean recall: a class to look at


@dataclass(frozen=True)
class Evaluation:
    """Labelled images and what classifiers answer to them.

    Attributes:
        images: uint8, shape (n, height, width, channels), in memory or on disk.
        labels: their classes, shape (n,).
        class_names: of all classes.
        outputs: who answers -> outputs, shape (n, classes). The first is the one that ships.
        probabilities: whether the outputs are; other scores are not shown as percentages.
    """

    images: Images
    labels: np.ndarray
    class_names: Sequence[str]
    outputs: Mapping[str, np.ndarray]
    probabilities: bool = True

    @property
    def name(self) -> str:
        """Who ships."""
        return next(iter(self.outputs))

    @cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """Who answers -> classes, shape (n,)."""
        return {name: outputs.argmax(axis=-1) for name, outputs in self.outputs.items()}

    @cached_property
    def scores(self) -> dict[str, ClassScores]:
        """Who answers -> scores of the classes."""
        classes = len(self.class_names)
        return {name: ClassScores.of(self.labels, answers, classes) for name, answers in self.answers.items()}

    def totals(self) -> dict[str, dict[str, float]]:
        """Who answers -> every one of `odn_keras.utils.scores.METRICS`."""
        return {
            name: {metric: score(metric, self.labels, answers) for metric in METRICS}
            for name, answers in self.answers.items()
        }

    def worst_mistakes(self, count: int) -> np.ndarray:
        """The indices of the wrong answers that are surest of themselves, the surest first."""
        wrong = np.flatnonzero(self.answers[self.name] != self.labels)
        surest = self.outputs[self.name][wrong].max(axis=-1)
        return wrong[np.argsort(-surest, kind="stable")[:count]]

    def examples_of(self, label: int, count: int) -> np.ndarray:
        """The indices of images of a class, from all parts of the dataset."""
        mine = np.flatnonzero(self.labels == label)
        return mine[np.linspace(0, len(mine) - 1, min(count, len(mine))).round().astype(int)]

    def said(self, name: str, index: int) -> str:
        """One answer, with its probability."""
        outputs = self.outputs[name][index]
        best = int(outputs.argmax())
        value = f"{outputs[best]:.0%}" if self.probabilities else f"{outputs[best]:.3g}"
        return f"{self.class_names[best]} {value}"


def sections(evaluation: Evaluation, split: str = "test") -> list[Section]:
    """All that there is to see of an evaluation; `split` names the images."""
    return [
        _classes(evaluation, split),
        _confusions(evaluation, split),
        _mistakes(evaluation, split),
        _examples(evaluation, split),
    ]


def percent(value: float) -> str:
    """A fraction for a table; nothing where there is none.

    >>> percent(0.98765), percent(float("nan"))
    ('98.8 %', '-')
    """
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def _classes(evaluation: Evaluation, split: str) -> Section:
    from odn_keras.runs.report.charts import MOST_BARS, recall_chart

    names, scores = evaluation.class_names, evaluation.scores
    first, *others = scores.values()
    title = f"How much of each class is recognised, {len(evaluation.labels):,} {split} images"
    chart = recall_chart(scores, names, title)
    shown = f" (the worst {MOST_BARS})" if len(names) > MOST_BARS else ""
    order = np.argsort(np.where(np.isnan(first.recall), 2, first.recall), kind="stable")
    weak = float(np.nanmean(first.recall)) - WEAK
    rows = [
        [
            f"{names[place]} (no. {place})" if len(names) > MOST_BARS else names[place],
            f"{first.images[place]:,}",
            *(percent(one[place]) for one in (first.recall, first.precision, first.f1)),
            *(percent(other.recall[place]) for other in others),
        ]
        for place in order
    ]
    recalls = [f"{name}: recall" for name in list(scores)[1:]]
    table = Table(
        ["class", "images", "recall", "precision", "F1", *recalls],
        rows,
        caption=f"The {evaluation.name}, the worst class first; marked: recall 10 points or more below the mean",
        marked=[row for row, place in enumerate(order) if first.recall[place] <= weak],
    )
    explained = (
        "Recall: of the images of a class, those that are recognised. Precision: of the answers of a class, those that "
        "are right. F1: the harmonic mean of both. The bar behind a dot spans what is plausible from so few images."
    )
    figure = Figure(chart, f"{title}{shown}.", f"Dot chart: {title}")
    return Section("Class by class", [Figures([figure], wide=True), Text(explained, soft=True), table])


def _confusions(evaluation: Evaluation, split: str) -> Section:
    from odn_keras.runs.report.charts import confusion_chart

    figures = []
    for name, scores in evaluation.scores.items():
        title = f"What the {name} takes for what"
        wrong = int(scores.images.sum() - np.trace(scores.confusion))
        caption = f"{title}: {wrong:,} of {len(evaluation.labels):,} {split} images beside the diagonal are wrong."
        figures.append(
            Figure(confusion_chart(scores, evaluation.class_names, title), caption, f"Confusion matrix: {title}")
        )
    return Section("Which classes are confused", [Figures(figures), _pairs(evaluation)])


def _pairs(evaluation: Evaluation) -> Block:
    """The pairs of classes that are confused most."""
    confusions = [scores.confusion for scores in evaluation.scores.values()]
    off = confusions[0] - np.diag(np.diag(confusions[0]))
    order = np.argsort(-off, axis=None, kind="stable")[:CONFUSED]
    places = [divmod(int(place), len(off)) for place in order if off.flat[place]]
    names, images = evaluation.class_names, evaluation.scores[evaluation.name].images
    rows = [
        [names[label], names[answer], *(f"{matrix[label, answer]:,}" for matrix in confusions), f"{images[label]:,}"]
        for label, answer in places
    ]
    if not rows:
        return Text(f"The {evaluation.name} confuses no image.")
    return Table(
        ["true class", "answered", *(f"images, {name}" for name in evaluation.scores), "of the class"],
        rows,
        caption="The most frequent confusions",
        names=2,
    )


def _mistakes(evaluation: Evaluation, split: str) -> Section:
    wrong = int(np.sum(evaluation.answers[evaluation.name] != evaluation.labels))
    if not wrong:
        return Section("The worst mistakes", [Text(f"The {evaluation.name} answers all {split} images rightly.")])
    items = []
    for index in map(int, evaluation.worst_mistakes(MISTAKES)):
        answers = {name: evaluation.said(name, index) for name in evaluation.outputs}
        true = evaluation.class_names[evaluation.labels[index]]
        first, *others = answers.items()
        items.append(
            Example(
                thumbnail(evaluation.images[index]),
                f"{true}, taken for {first[1]}",
                [f"is {true}", *(f"{name}: {said}" for name, said in others)],
                f"{first[0]}: {first[1]}",
            )
        )
    shown = f"{wrong:,} of {len(evaluation.labels):,} {split} images" + (
        f", the {len(items)} surest of themselves" if len(items) < wrong else ", the surest first"
    )
    return Section(
        "The worst mistakes", [Text(f"Wrong answers of the {evaluation.name}: {shown}.", soft=True), Gallery(items)]
    )


def _examples(evaluation: Evaluation, split: str) -> Section:
    names = evaluation.class_names
    each = max(1, min(EXAMPLES_EACH, EXAMPLES // len(names)))
    shown = {
        name: [_example(evaluation, int(index)) for index in evaluation.examples_of(label, each)]
        for label, name in enumerate(names[:EXAMPLES])
    }
    left_out = f" The first {EXAMPLES} of {len(names)} classes." if len(names) > EXAMPLES else ""
    text = Text(f"Some {split} images of each class; wrongly answered ones are framed.{left_out}", soft=True)
    blocks: list[Block] = [text, Classes(shown)]
    if len(names) > SHOWN_CLASSES:
        blocks = [Folded(f"Show the images of {len(shown)} classes", blocks)]
    return Section("Examples of each class", blocks)


def _example(evaluation: Evaluation, index: int) -> Example:
    answer, label = evaluation.answers[evaluation.name][index], evaluation.labels[index]
    said = "" if answer == label else evaluation.class_names[answer]
    return Example(thumbnail(evaluation.images[index]), evaluation.class_names[label], wrong=said)
