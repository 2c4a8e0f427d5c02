"""Going on with a finished run, as its user does: on the command line."""

import json

import numpy as np
import pytest

from odn_keras import RunOptions, run, train

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def photos(digits, tmp_path_factory):
    """Writes an .npz of so many training images of three digits, the others all of theirs."""
    folder = tmp_path_factory.mktemp("photos")

    def made(count, name="photos"):
        arrays = {}
        for split, key in (("train", "train"), ("validation", "val"), ("test", "test")):
            images, labels = getattr(digits, split)
            rows = np.flatnonzero(labels < 3)[: count if split == "train" else None]
            arrays |= {f"x_{key}": images[rows], f"y_{key}": labels[rows]}
        np.savez(folder / f"{name}.npz", **arrays)
        return folder / f"{name}.npz"

    return made


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """A finished run, and its report."""
    out = tmp_path_factory.mktemp("finished") / "run"
    few = {"width": 4, "batch_size": 32, "precision": "float32", "epochs": 6, "cycle_epochs": 6}
    run(RunOptions(dataset=str(photos(200)), target_accuracy=0.5, **few), out)
    return out, json.loads((out / "report.json").read_text())


def test_more_photos_and_more_epochs_continue_from_depth_and_weights(run_command, finished, photos, tmp_path):
    earlier, before = finished
    photos(380)  # the same file, with more images
    out = tmp_path / "more"
    status, printed, error = run_command(
        train, f"--continue_from={earlier}", "--epochs=4", "--cycle_epochs=4", "--target_accuracy=0.99", f"--out={out}"
    )
    assert status in (0, 3), error
    report = json.loads((out / "report.json").read_text())
    assert f"continues with the network of {earlier}: depth {before['depth']}" in printed
    assert f"depth {before['depth']} to 8 of 8" in printed or before["depth"] == 8
    assert report["continued"]["depth"] == before["depth"] == report["stages"][0]["depth"]
    assert report["continued"]["val_score"] == pytest.approx(before["val_score"])  # the validation images are the same
    assert report["stages"][0]["epochs"] == 2  # the second half of a cycle, where the rate falls
    assert report["images"]["train"] == 380 and report["options"]["width"] == 4 and report["epochs"] <= 4
    assert (
        report["val_score"] >= report["continued"]["val_score"] or "WARNING: the network that it began with" in printed
    )
    assert json.loads((earlier / "report.json").read_text()) == before


def test_with_a_given_depth_all_epochs_are_its_and_the_search_before_asks_for_nothing(run_command, finished, tmp_path):
    earlier, before = finished
    out = tmp_path / "alone"
    status, printed, error = run_command(
        train, f"--continue_from={earlier}", f"--depth={before['depth']}", "--epochs=3", f"--out={out}"
    )
    assert status == 0, error  # the run before had a cycle of 6 epochs, and a target
    assert f"depth {before['depth']} of 8" in printed
    report = json.loads((out / "report.json").read_text())
    assert report["target_accuracy"] is None and [stage["epochs"] for stage in report["stages"]] == [3]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--continue_from=nowhere"], "holds no finished run"),
        (["--continue_from=RUN", "--backbone=resnet34"], "has --backbone=resnet18, not resnet34: leave it out"),
        (["--continue_from=RUN", "--start_from=RUN"], "give one of them"),
        (["--continue_from=RUN", "--width=8"], "has --width=4, not 8: leave it out"),
        (["--continue_from=RUN", "--depth=8"], "not 8: leave depth out"),
        (["--continue_from=RUN", "--dataset=digits"], "has other classes than digits"),
        (["--continue_from=RUN", "--out=RUN", "--overwrite"], "would remove the run to continue"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(run_command, finished, tmp_path, arguments, told):
    arguments = [text.replace("RUN", str(finished[0])) for text in arguments]
    status, _, error = run_command(train, f"--out={tmp_path / 'new'}", *arguments)
    assert status == 2 and error.count("\n") == 1 and told in error, error
    assert (finished[0] / "report.json").exists()
    assert not (tmp_path / "new").exists()
