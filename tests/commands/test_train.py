"""The command as its user runs it: in the same process for speed, except where a process of its own matters."""

import csv
import importlib.util
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from odn_keras import LiteRTClassifier, NetworkSpec, RunOptions, build, train
from odn_keras.runs.run_files import RUN_FILES
from odn_keras.runs.run_folder import RunFolder

SMALL = ["--width=16", "--epochs=16", "--cycle_epochs=8"]


@pytest.fixture
def command(run_command):
    """Runs `python -m odn_keras.train ARGUMENTS`: (exit status, stdout, stderr)."""
    return lambda *arguments: run_command(train, *arguments)


@pytest.fixture
def refused(command, tmp_path):
    """Runs the command on bad input: checks the manners, returns the one line."""

    def run(*arguments, out=tmp_path / "out"):
        status, _, error = command(f"--out={out}", *arguments)
        assert status == 2
        lines = error.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and "Traceback" not in error
        assert not (tmp_path / "out").exists()
        return lines[0]

    return run


def test_a_run_leaves_a_checked_network(command, tmp_path, digits):
    out = tmp_path / "run"
    status, printed, _ = command(f"--out={out}", "--dataset=digits", *SMALL, "--target_accuracy=0.6", "--seed=1")
    assert status == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(RUN_FILES)

    report = json.loads((out / "report.json").read_text())
    assert report["target_met"] and report["val_accuracy"] >= 0.6 and 1 <= report["depth"] <= 8
    assert report["epochs"] == pytest.approx(sum(stage["epochs"] for stage in report["stages"]), abs=0.01)
    assert report["training_macs"] == sum(stage["training_macs"] for stage in report["stages"])
    assert report["tflite_bytes"] == (out / "model.tflite").stat().st_size
    assert report["param_reduction"] == 1 - report["params"] / report["full_params"]
    assert report["memory_reduction"] == 1 - report["tflite_bytes"] / report["float_full_bytes"]
    assert (report["seed"], report["backend"]) == (1, keras.backend.backend())
    wanted = "dataset backbone width max_depth target_accuracy macs full_macs versions"
    assert set(wanted.split()) <= report.keys()

    images, labels = digits.test
    assert LiteRTClassifier(out / "model.tflite").accuracy(images, labels) == report["int8_test_accuracy"]
    network = keras.saving.load_model(out / "model.keras")
    accuracy = np.mean(network.predict(images.astype("float32"), verbose=0).argmax(-1) == labels)
    assert accuracy == pytest.approx(report["test_accuracy"], abs=1e-6)
    assert all(layer.trainable for layer in network.layers)
    assert (out / "labels.txt").read_text().split() == [str(n) for n in range(10)]
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == report["epochs"]
    assert max(float(row["val_accuracy"]) for row in rows) == pytest.approx(report["val_accuracy"])
    for shown in (f"{report['params']:,}", f"{report['tflite_bytes']:,}", f"{report['int8_test_accuracy']:.4f}"):
        assert shown in printed
    assert str(out / "model.tflite") in printed
    page = (out / "report.html").read_text()
    for told in (
        "Target met",
        "Which classes are confused",
        "What the float network takes for what",
        "odn_keras.export",
    ):
        assert told in page
    assert f"{report['tflite_bytes']:,} bytes" in page and len(page) < 3_000_000


@pytest.fixture
def unequal(digits, npz):
    """Three digits, of which one has 12 training images where another has 120."""
    arrays = {}
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        images, labels = getattr(digits, split)
        counts = {0: 120, 1: 40, 2: 12} if split == "train" else dict.fromkeys(range(3), 20)
        rows = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in counts.items()])
        arrays |= {f"x_{name}": images[rows], f"y_{name}": labels[rows]}
    return npz(**arrays)


def test_unequal_classes_are_weighed_and_judged_alike(command, tmp_path, unequal):
    out = tmp_path / "run"
    few = ["--width=4", "--epochs=6", "--cycle_epochs=3", "--batch_size=32", "--precision=float32"]
    wanted = ["--class_weight=balanced", "--target_metric=balanced_accuracy", "--target_accuracy=0.9"]
    status, printed, error = command(f"--out={out}", f"--dataset={unequal}", *few, *wanted)
    assert status in (0, 3), error
    report = json.loads((out / "report.json").read_text())
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert report["val_score"] == pytest.approx(max(float(row["val_balanced_accuracy"]) for row in rows))
    assert "target: validation balanced accuracy 0.9" in printed
    assert f"validation balanced accuracy {report['val_score']:.4f}" in printed
    assert report["test_scores"]["int8 file"]["accuracy"] == report["int8_test_accuracy"]
    assert "balanced accuracy" in (out / "report.html").read_text()
    assert report["learning_rate_scale"] == 1  # the weights are no divergence

    status, _, error = command(f"--out={out}", "--overwrite", f"--dataset={unequal}", "--class_weight=7:2", *few)
    assert status == 2 and "class_weight names '7', which is no class; there are '0', '1', '2'" in error
    assert (out / "report.json").exists()


def test_a_mean_over_classes_wants_validation_images_of_each(command, tmp_path, npz):
    data = npz(
        x_train=np.zeros((120, 8, 8), np.uint8), y_train=np.arange(120) % 3, x_val=np.zeros((20, 8, 8), np.uint8),
        y_val=np.arange(20) % 2, x_test=np.zeros((20, 8, 8), np.uint8), y_test=np.arange(20) % 3,
        class_names=np.array(["cat", "dog", "cow"]),
    )  # fmt: skip
    arguments = [f"--dataset={data}", "--width=2", "--batch_size=32", "--target_metric=macro_f1"]
    with pytest.warns(UserWarning, match="class 'cow' has no image to validate on"):
        status, _, error = command(f"--out={tmp_path / 'run'}", *arguments)
    assert status == 2 and "there are no validation images of 'cow'" in error and not (tmp_path / "run").exists()


def test_a_pruned_run_tells_what_depth_and_width_saved(command, tmp_path):
    out = tmp_path / "run"
    arguments = ["--dataset=digits", *SMALL, "--prune=0.5", "--target_accuracy=0.5", "--seed=1"]
    status, printed, _ = command(f"--out={out}", *arguments)
    report = json.loads((out / "report.json").read_text())
    assert status == 0 and [stage["phase"] for stage in report["stages"][-2:]] == ["prune", "recover"]
    pruning = report["pruning"]
    assert 0.5 <= pruning["param_reduction"] == 1 - report["params"] / pruning["params_before"] < 0.65
    assert pruning["params_before"] < report["full_params"] and pruning["val_accuracy_before"] > 0.5
    assert f"pruning {pruning['param_reduction']:.2%} of those left" in printed
    network = keras.saving.load_model(out / "model.keras")
    assert network.count_params() < pruning["params_before"]
    assert [network.get_layer("block1_conv1").filters] == pruning["inner"][0]
    assert report["tflite_bytes"] < 0.7 * 83_488  # of one block of full width


def test_an_unmet_target_still_exports_says_so_and_exits_3(command, tmp_path):
    out = tmp_path / "run"
    arguments = [f"--out={out}", "--width=2", "--epochs=3", "--cycle_epochs=1", "--target_accuracy=1.0"]
    status, printed, _ = command(*arguments, "--tensorboard")
    assert status == 3
    assert [line[:9] for line in printed.splitlines() if line.startswith("epoch ")] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]
    assert list((out / "tensorboard").rglob("events.out.tfevents.*"))
    (out / "tensorboard" / "mine.txt").write_text("of the user")
    assert "target was not met" in printed and "--width" in printed
    assert sorted(path.name for path in out.iterdir()) == sorted((*RUN_FILES, "tensorboard"))
    assert not json.loads((out / "report.json").read_text())["target_met"]

    before = (out / "report.json").read_text()
    status, _, error = command(*arguments)
    assert status == 2 and "--overwrite" in error and (out / "report.json").read_text() == before
    (out / "export").mkdir()  # made of the run that goes
    assert command(*arguments, "--overwrite", "--seed=5")[0] == 3 and not (out / "export").exists()
    assert json.loads((out / "report.json").read_text())["seed"] == 5
    assert [path.name for path in (out / "tensorboard").rglob("*") if path.is_file()] == ["mine.txt"]


def test_what_a_folder_held_before_its_first_run_stays(tmp_path):
    (tmp_path / "export").mkdir()
    with RunFolder(tmp_path).claimed(RunOptions(), "float32", overwrite=False, resume=False):
        assert (tmp_path / "export").exists()


def test_svhn_runs_to_the_end_on_stand_in_data(command, tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=200):
        status, _, error = command(
            "--dataset=svhn", f"--out={tmp_path / 'run'}", "--width=2", "--epochs=1", "--cycle_epochs=1",
            "--batch_size=32", f"--data_dir={tmp_path}",
        )  # fmt: skip
    assert status in (0, 3), error
    assert json.loads((tmp_path / "run" / "report.json").read_text())["images"]["shape"] == [32, 32, 3]


def test_a_camera_users_folder_runs_to_the_end(command, tmp_path, image_folder):
    for kind in (["--grayscale"], []):
        status, _, error = command(
            f"--dataset={image_folder}", f"--out={tmp_path / 'run'}", "--image_size=24", "--width=2", "--epochs=1",
            "--cycle_epochs=1", "--batch_size=8", "--stem_stride=2", "--overwrite", *kind,
        )  # fmt: skip
        assert status in (0, 3), error
        report = json.loads((tmp_path / "run" / "report.json").read_text())
        assert report["images"]["shape"] == [24, 24, 1 if kind else 3]
        assert (tmp_path / "run" / "labels.txt").read_text().split() == ["bolt", "nut", "washer"]


def test_one_epoch_is_a_run(command, tmp_path):
    assert command(f"--out={tmp_path / 'run'}", "--width=2", "--epochs=1")[0] == 3
    assert json.loads((tmp_path / "run" / "report.json").read_text())["epochs"] == 1


def test_a_given_depth_is_trained_and_no_other(command, tmp_path):
    out = tmp_path / "run"
    arguments = [f"--out={out}", "--width=2", "--epochs=2", "--depth=2", "--batch_size=64"]
    status, printed, _ = command(*arguments)
    report = json.loads((out / "report.json").read_text())
    assert (status, report["depth"], report["target_met"]) == (0, 2, None) and "NOT met" not in printed
    assert [(stage["depth"], stage["phase"], stage["epochs"]) for stage in report["stages"]] == [(2, "cycle", 2)]
    assert printed.startswith("no --dataset is given: training on the 1,797 digits")

    status, _, error = command(*arguments)
    assert status == 2 and f"the run in {out} is finished, with these options: its report is" in error
    before = sorted(path.name for path in out.iterdir())
    for bad in ("--shift=inf", "--teacher=/nowhere.keras", "--dataset=/nowhere", "--batch_size=5000"):
        assert command(*arguments, "--overwrite", bad)[0] == 2
        assert sorted(path.name for path in out.iterdir()) == before

    status, printed, error = command(f"--out={out}", "--resume")
    assert (status, error) == (0, "") and "validation accuracy" in printed
    damaged = {name: value for name, value in report.items() if name != "macs"}
    (out / "report.json").write_text(json.dumps(damaged))
    status, _, error = command(f"--out={out}", "--resume")
    assert status == 2 and "it has no 'macs'" in error and error.count("\n") == 1


def test_a_teacher_of_other_classes_is_refused(refused, tmp_path):
    path = tmp_path / "teacher.keras"
    build(NetworkSpec("resnet18", (8, 8, 1), num_classes=3, width=4), 1).save(path)
    assert "one output of 10 classes, it has [(3,)]" in refused(f"--teacher={path}")


def test_a_run_learns_from_a_teacher(command, tmp_path, trained_on_digits):
    path, out = tmp_path / "teacher.keras", tmp_path / "run"
    trained_on_digits.save(path)
    few = ["--width=4", "--epochs=3", "--max_depth=1", "--target_accuracy=0.05", "--seed=1"]
    status, _, error = command(f"--out={out}", f"--teacher={path}", *few)
    assert (status, error) == (0, "")
    report = json.loads((out / "report.json").read_text())
    plain = tmp_path / "plain"
    assert command(f"--out={plain}", *few)[0] == 0
    stage, alone = report["stages"][0], json.loads((plain / "report.json").read_text())["stages"][0]
    assert stage["training_macs"] > alone["training_macs"]  # the teacher's forward pass counts
    assert stage["best_val_accuracy"] != alone["best_val_accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=no_such_dataset"], "no_such_dataset"),
        (["--backbone=resnet19"], "resnet19"),
        (["--width=0"], "width must be at least 1, got 0"),
        (["--width=wide"], "wide"),
        (["--no_such_flag=1"], "no_such_flag"),
        (["stray"], "stray"),
        (["--flagfile=/nowhere/flags.txt"], "/nowhere/flags.txt"),
        (["--target_accuracy=0"], "got 0"),
        (["--target_accuracy=1.2"], "got 1.2"),
        (["--target_accuracy=nan"], "got nan"),
        (["--max_depth=9"], "1 to 8, got 9"),
        (["--max_depth=0"], "got 0"),
        (["--batch_size=2000"], "fewer than a batch of 2000"),
        (["--cycle_epochs=100"], "100"),
        (["--validation_images=99999"], "got 99999"),
        (["--dataset=/nowhere/data.npz"], "/nowhere/data.npz"),
        (["--dataset=/nowhere/images"], "/nowhere/images"),
        (["--prune=1"], "prune must be below 1, got 1.0"),
        (["--prune=0.5", "--epochs=10", "--cycle_epochs=8"], "at most half of the epochs (10)"),
        (["--prune_streams"], "give prune as well"),
        (["--prune=0.999"], "one channel a group"),
        (["--exits=9"], "1 to 8, the deepest tried, got 9"),
        (["--teacher=/nowhere/teacher.keras"], "no such file: /nowhere/teacher.keras"),
    ],
)
def test_bad_flags_are_refused_in_one_line(refused, arguments, message):
    assert message in refused(*arguments)


def test_data_that_is_neither_there_nor_downloadable_is_refused(refused, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr("odn_keras.data.tfds._online", lambda: False)
    assert "no network" in refused("--dataset=mnist", f"--data_dir={tmp_path}")


def test_bad_npz_files_are_refused(refused, npz):
    assert "lacks y_train" in refused(f"--dataset={npz(y_train=None)}")
    assert "objects" in refused(f"--dataset={npz(y_train=np.array([object()] * 40))}")
    assert "at least 100" in refused(f"--dataset={npz()}", "--batch_size=8")
    assert "for folders" in refused(f"--dataset={npz()}", "--grayscale")


def test_without_tensorflow_nothing_is_trained(refused, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "tensorflow" else found(name, *more)
    )
    assert "pip install 'odn_keras[tensorflow]'" in refused()


def test_a_folder_that_cannot_be_written_is_refused(refused, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    assert str(blocker) in refused(out=blocker)
    assert str(blocker) in refused(out=blocker / "run")


def test_a_diverging_run_says_when_and_keeps_what_it_has(command, tmp_path):
    out = tmp_path / "run"
    status, _, error = command(f"--out={out}", "--width=4", "--learning_rate=1e30", "--precision=float32")
    assert status == 2
    assert "epoch 1 (depth 1)" in error and "learning rate" in error and "Traceback" not in error
    assert not (out / "model.tflite").exists()


def test_every_flagfile_parses(command, tmp_path):
    import pathlib

    files = sorted(pathlib.Path(__file__).parents[2].glob("flags/*.txt"))
    assert {file.stem for file in files} >= {"mnist", "emnist_letters", "fashion_mnist", "svhn", "cifar10", "digits"}
    for file in files:  # one value is spoilt, so that the run ends once the rest was found good
        status, _, error = command(f"--flagfile={file}", "--dataset=/nowhere/data.npz", f"--out={tmp_path}")
        assert (status, "/nowhere/data.npz" in error) == (2, True), error


def test_the_same_seed_gives_the_same_history(command, tmp_path):
    histories = []
    for name in ("one", "two"):
        command(f"--out={tmp_path / name}", "--width=4", "--epochs=2", "--cycle_epochs=1", "--seed=7", "--shift=1")
        histories.append((tmp_path / name / "history.csv").read_text())
    assert histories[0] == histories[1]


def test_importing_the_package_is_light():
    code = "import sys, odn_keras, odn_keras.train; print(sorted({'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
