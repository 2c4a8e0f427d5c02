"""A network of a user's own blocks, from its description to files: what the package's backbones go through too."""

import json

import pytest

from odn_keras import MicroClassifier, RunOptions, evaluate, export, open_classifier, route, run, specialize, train
from odn_keras.deploy.runtimes import LiteRTClassifier

pytest.importorskip("tensorflow")

DESCRIBED = {
    "name": "mine",
    "width": 6,
    "stem": {"channels": 1, "activation": "relu6"},
    "blocks": [
        {
            "convolutions": [
                {"channels": 2, "kernel": 1, "activation": "relu6"},
                {"depthwise": True, "activation": "relu6"},
                {"channels": 1, "kernel": 1, "activation": None},
            ],
            "activation": None,
        },
        {"convolutions": [{"depthwise": True, "stride": 2}, {"channels": 2, "kernel": 1}], "shortcut": None},
    ],
}
OPTIONS = {"dataset": "digits", "depth": 2, "epochs": 8, "cycle_epochs": 6, "shrink_epochs": 2, "exits": "1,2"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, whose description was a file that is no longer there."""
    folder = tmp_path_factory.mktemp("own")
    file = folder / "mine.json"
    file.write_text(json.dumps(DESCRIBED))
    run(RunOptions(backbone=file, batch_size=32, **OPTIONS), folder / "run")
    file.unlink()
    return folder / "run"


def test_the_report_names_the_backbone_and_predicts_its_file(trained):
    report = json.loads((trained / "report.json").read_text())
    assert report["backbone"] == "mine" and report["width"] == 6
    assert report["val_accuracy"] > 0.5
    assert json.loads(report["options"]["backbone"])["blocks"][1]["shortcut"] is None


def test_it_is_exported_and_answers_alike_everywhere(trained, run_command, tmp_path, digits):
    pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install 'odn_keras[micro]'")
    status, _, error = run_command(
        export, f"--run={trained}", f"--out={tmp_path / 'files'}", "--targets=microcontroller"
    )
    assert status == 0, error
    images, labels = digits.test
    file = tmp_path / "files" / "model.tflite"
    micro = MicroClassifier(file).predict_quantized(images[:50]).astype(int)
    assert abs(micro - open_classifier(file, "litert_reference").predict_quantized(images[:50])).max() <= 1
    status, printed, _ = run_command(evaluate, f"--tflite={file}", "--dataset=digits")
    assert status == 0 and f"{LiteRTClassifier(file).accuracy(images, labels):.4f}" in printed


def test_smaller_ones_are_found_in_it_and_images_leave_it_early(trained, run_command, tmp_path):
    whole = (trained / "model.tflite").stat().st_size
    out = tmp_path / "small"
    status, _, error = run_command(specialize, f"--run={trained}", f"--max_flash={whole - 200}", f"--out={out}")
    assert status == 0, error
    assert (out / "model.tflite").stat().st_size <= whole - 200
    status, _, error = run_command(route, f"--run={trained}", f"--out={tmp_path / 'routed'}")
    assert status == 0, error
    assert (tmp_path / "routed" / "stage2.tflite").is_file()


def test_it_is_continued_and_is_the_start_of_another_that_is_continued(trained, run_command, tmp_path):
    more = ["--epochs=3", "--cycle_epochs=2", "--shrink_epochs=1"]
    status, printed, error = run_command(train, f"--continue_from={trained}", *more, f"--out={tmp_path / 'more'}")
    assert status == 0 and f"continues with the network of {trained}: depth 2" in printed, error
    begun = ["--dataset=digits", f"--backbone={options_of_run(trained)['backbone']}", "--depth=2", "--epochs=2"]
    status, _, error = run_command(train, f"--start_from={trained}", *begun, f"--out={tmp_path / 'begun'}")
    assert status == 0, error
    status, printed, error = run_command(train, f"--continue_from={tmp_path / 'begun'}", f"--out={tmp_path / 'on'}")
    assert status == 0 and "no --dataset is given" not in printed, error


def options_of_run(folder):
    return json.loads((folder / "report.json").read_text())["options"]


def test_another_description_is_another_run(trained, run_command, tmp_path):
    other = tmp_path / "mine.json"
    other.write_text(json.dumps({**DESCRIBED, "stem": {"channels": 1}}))
    arguments = [f"--out={trained}", f"--backbone={other}", "--batch_size=32", "--exits=1,2"]
    arguments += [
        f"--{name}={OPTIONS[name]}" for name in ("dataset", "depth", "epochs", "cycle_epochs", "shrink_epochs")
    ]
    status, printed, error = run_command(train, *arguments)
    assert status == 2 and not printed
    assert "--backbone=mine as it was, not as it is described now" in error and len(error.splitlines()) == 1


def test_a_wrong_description_ends_with_the_place(run_command, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({**DESCRIBED, "blocks": [{"convolutions": [{"channels": 1, "kernel": 99}]}]}))
    status, printed, error = run_command(train, f"--out={tmp_path / 'run'}", f"--backbone={wrong}")
    assert status == 2 and not printed and not (tmp_path / "run").exists()
    assert error.strip().endswith("blocks[0].convolutions[0]: kernel must be a whole number from 1 to 15, got 99")
