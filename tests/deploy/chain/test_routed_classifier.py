import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from odn_keras import InputError, NetworkSpec, RoutedClassifier, build
from odn_keras.deploy.chain.exit_chain import export_chain
from odn_keras.deploy.chain.routed_classifier import Chain, int8_threshold
from odn_keras.deploy.tflite_file.graph import Graph

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """A network that has learned a little, and thresholds that half of the images reach."""
    folder = tmp_path_factory.mktemp("routed")
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=8, exits=(1, 2)), 3)
    images, labels = digits.train
    network.compile("adam", ["sparse_categorical_crossentropy"] * 3, jit_compile=False)
    network.fit(images.astype("float32"), [labels] * 3, epochs=15, batch_size=32, verbose=0)
    stages, _ = export_chain(network, images[:200], folder)
    rows = [{"file": stage.name} for stage in stages]
    for row, answers in zip(rows[:-1], Chain(stages).predict_every_exit(images[:200]), strict=False):
        row["threshold_int8"] = int8_threshold(np.median(answers.max(axis=-1)))
    (folder / "routing.json").write_text(json.dumps({"labels": list(map(str, range(10))), "stages": rows}))
    return folder


@pytest.mark.parametrize("runtime", ["litert", "tflite_micro"])
def test_images_leave_where_the_int8_comparison_says(folder, digits, runtime):
    if runtime == "tflite_micro":
        pytest.importorskip("tflite_micro", reason="pip install 'odn_keras[micro]'")
    images, labels = digits.test
    classifier = RoutedClassifier(folder, runtime)
    answers, exits = classifier.route(images)
    every = Chain([folder / f"stage{number}.tflite" for number in (1, 2, 3)], runtime).predict_every_exit(images)
    int8 = (every * 256 - 128).astype(int)
    first, second = classifier.thresholds
    expected = np.where(int8[0].max(-1) >= first, 0, np.where(int8[1].max(-1) >= second, 1, 2))
    np.testing.assert_array_equal(exits, expected)
    np.testing.assert_array_equal(answers, every[exits, np.arange(len(images))])
    np.testing.assert_array_equal(classifier.predict(images), answers)
    assert min(np.bincount(exits, minlength=3)) > 0
    assert classifier.accuracy(images, labels) > 0.5


STEPS, LABEL_STEPS = 4, 16  # of 1/256: how far the runtimes may be apart at an exit; a lead that they may turn round


def test_both_runtimes_decide_alike_but_at_a_threshold(folder, digits):
    pytest.importorskip("tflite_micro", reason="pip install 'odn_keras[micro]'")
    images = digits.test[0]
    one, other = (RoutedClassifier(folder, name) for name in ("litert", "tflite_micro"))
    (answers, exits), (their_answers, their_exits) = one.route(images), other.route(images)
    int8 = one.predict_every_exit(images) * 256 - 128
    clear = np.ones(len(images), bool)
    for threshold, answer in zip(one.thresholds, int8, strict=False):
        clear &= np.abs(answer.max(axis=-1) - threshold) > STEPS
    np.testing.assert_array_equal(exits[clear], their_exits[clear])
    best, second = np.sort(answers * 256, axis=-1)[:, :-3:-1].T
    clear_label = clear & (best - second > LABEL_STEPS)
    np.testing.assert_array_equal(answers.argmax(-1)[clear_label], their_answers.argmax(-1)[clear_label])
    assert np.mean(clear) > 0.5 and np.mean(clear_label) > 0.3  # there is enough to compare
    assert min(np.bincount(exits[clear], minlength=3)) > 0


def test_the_int8_threshold_decides_as_the_float_one():
    grid = np.arange(256) / 256
    for threshold in (0.0, 0.3, 0.5, 0.996, 1.0, 2.0):
        np.testing.assert_array_equal(np.arange(256) - 128 >= int8_threshold(threshold), grid >= threshold)


def test_refuses_what_is_no_chain(folder, tmp_path):
    with pytest.raises(InputError, match="holds no routed network"):
        RoutedClassifier(tmp_path)
    (tmp_path / "routing.json").write_text('{"labels": ["a"], "stages": [{"file": "gone.tflite"}]}')
    with pytest.raises(InputError, match="no such file"):
        RoutedClassifier(tmp_path)
    with pytest.raises(InputError, match="does not take what the stage before it gives"):
        Chain([folder / "stage2.tflite", folder / "stage1.tflite"])
    with pytest.raises(InputError, match="runtime must be one of litert, tflite_micro, got 'abacus'"):
        RoutedClassifier(folder, "abacus")
    with pytest.raises(InputError, match="uint8 of shape"):
        RoutedClassifier(folder).route(np.zeros((1, 9, 9, 1), np.uint8))
    with pytest.raises(InputError, match="at least one stage"):
        Chain([])
    with pytest.raises(InputError, match=r"stage1\.tflite is not the last stage"):
        Chain([folder / "stage1.tflite"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stages": []}, "no stages"),
        ({"stages": {}}, "no routed network"),
        ({"stages": [{"file": "../stage1.tflite"}]}, "name of a file in the folder"),
        ({"stages": [{"file": "/etc/passwd"}]}, "name of a file in the folder"),
        ({"stages": [{"file": "..\\\\stage1.tflite"}]}, "name of a file in the folder"),
        ({"stages": [{"file": ".."}]}, "name of a file in the folder"),
        ({"stages": [{"file": ""}]}, "name of a file in the folder"),
        ({"stages": [{"file": 1}]}, "name of a file in the folder"),
        ({"threshold": 0.5}, "whole number from -128 to 128, got 0.5"),
        ({"threshold": True}, "whole number from -128 to 128, got True"),
        ({"threshold": 129}, "whole number from -128 to 128, got 129"),
        ({"threshold": None}, "whole number from -128 to 128, got None"),
        ({"labels": list("abc")}, "has 3 labels, its stages have 10 classes"),
        ({"labels": list(range(10))}, "list of texts"),
        ({"labels": "0123456789"}, "list of texts"),
    ],
)
def test_a_routing_that_was_changed_is_refused(folder, tmp_path, changed, message):
    shutil.copytree(folder, tmp_path / "routed")
    routing = tmp_path / "routed" / "routing.json"
    stored = json.loads(routing.read_text())
    if "threshold" in changed:
        stored["stages"][0]["threshold_int8"] = changed.pop("threshold")
    routing.write_text(json.dumps({**stored, **changed}))
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        RoutedClassifier(tmp_path / "routed")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "[]", " " * 2**24 + "{}"])
def test_what_is_no_routing_is_refused(tmp_path, text):
    (tmp_path / "routing.json").write_text(text)
    with pytest.raises(InputError, match="holds no routed network"):
        RoutedClassifier(tmp_path)


def test_logits_are_never_held_against_thresholds(folder, tmp_path):
    graph = Graph((folder / "stage3.tflite").read_bytes())
    (logits,) = graph.reads(graph.maker(graph.outputs[0]))
    (tmp_path / "logits.tflite").write_bytes(graph.cut(graph.ancestors(logits), graph.inputs[0], [logits]))
    with pytest.raises(InputError, match=r"logits\.tflite gives no probabilities"):
        Chain([folder / "stage1.tflite", folder / "stage2.tflite", tmp_path / "logits.tflite"])


def test_threads_share_a_routed_classifier(folder, digits):
    images = digits.test[0][:100]
    classifier = RoutedClassifier(folder)
    answers, exits = classifier.route(images)

    def work(seed):
        order = np.random.default_rng(seed).permutation(len(images))
        found, taken = classifier.route(images[order])
        np.testing.assert_array_equal(found, answers[order])
        np.testing.assert_array_equal(taken, exits[order])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))


def test_no_images_have_no_answers(folder):
    classifier, none = RoutedClassifier(folder), np.zeros((0, 8, 8, 1), np.uint8)
    answers, exits = classifier.route(none)
    assert answers.shape == (0, 10) and exits.shape == (0,)
    assert classifier.predict_every_exit(none).shape == (3, 0, 10)
