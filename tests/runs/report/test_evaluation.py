import re

import numpy as np
import pytest

from odn_keras.runs.report.evaluation import Evaluation, sections
from odn_keras.runs.report.page import Page

HARD_NAMES = ["猫", '<b>&"x"</b>', "$x^2$", "مرحبا", "a long name " * 12, "{{ 7 * 7 }}"]


@pytest.fixture
def evaluation():
    """Answers to noise of some shape, most of them right."""

    def made(names, images=200, shape=(8, 8, 1), who=("int8 file", "float network")):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, len(names), images)
        outputs = {name: rng.random((images, len(names))) + 0.5 * np.eye(len(names))[labels] for name in who}
        outputs = {name: output / output.sum(axis=-1, keepdims=True) for name, output in outputs.items()}
        return Evaluation(rng.integers(0, 256, (images, *shape)).astype(np.uint8), labels, names, outputs)

    return made


def test_the_surest_wrong_answers_come_first(evaluation):
    some = evaluation(["a", "b", "c"])
    worst = some.worst_mistakes(10)
    answers, sureness = some.answers["int8 file"], some.outputs["int8 file"].max(axis=-1)
    assert (answers[worst] != some.labels[worst]).all() and (np.diff(sureness[worst]) <= 0).all()
    wrong = np.flatnonzero(answers != some.labels)
    assert sureness[wrong].max() == sureness[worst[0]] and len(worst) == 10


def test_the_page_has_figures_of_both_and_needs_no_other_file(evaluation):
    some = evaluation(["cat", "dog"])
    html = Page("photos", [], sections(some)).html()
    scores = some.scores["int8 file"]
    assert f"{100 * scores.recall[0]:.1f} %" in html and f"{100 * scores.precision[1]:.1f} %" in html
    assert "What the int8 file takes for what" in html and "What the float network takes for what" in html
    assert f"float network: {some.said('float network', int(some.worst_mistakes(1)[0]))}" in html
    assert not re.findall(r'(?:src|href)="(?!data:)', html)


def test_names_of_any_kind_are_shown_as_they_are(evaluation):
    html = Page("hard", [], sections(evaluation(HARD_NAMES))).html()
    assert '<b>&"' not in html and "&lt;b&gt;&amp;&#34;x" in html and "{{ 7 * 7 }}" in html
    for name in ("猫", "$x^2$", "مرحبا"):
        assert name in html


@pytest.mark.parametrize(("classes", "shape"), [(100, (32, 32, 3)), (300, (96, 80, 3)), (2, (64, 64, 2))])
def test_many_classes_and_large_images_make_a_small_file(evaluation, classes, shape):
    names = [f"class {number}" for number in range(classes)]
    html = Page("many", [], sections(evaluation(names, images=2000, shape=shape))).html()
    assert len(html) < 3_000_000 and f"class {classes - 1}" in html


def test_without_a_mistake_it_says_so(evaluation):
    some = evaluation(["a", "b"])
    perfect = Evaluation(some.images, some.labels, some.class_names, {"file": np.eye(2)[some.labels]})
    html = Page("perfect", [], sections(perfect)).html()
    assert "answers all test images rightly" in html and "confuses no image" in html


def test_a_class_without_test_images_has_no_recall(evaluation):
    some = evaluation(["a", "b"])
    more = Evaluation(some.images, some.labels, ["a", "b", "c"], {"file": np.eye(3)[some.labels]})
    assert re.search(r"<td>c</td><td>0</td><td>-</td><td>-</td>", Page("", [], sections(more)).html())
