import json

import pytest

from benchmarks import forecast as benchmark
from odn_keras import InputError
from odn_keras.growing import forecast


def training(folder, dataset, numbers=benchmark.PACKAGE):
    """A folder as `benchmarks.search_cost` leaves it, with a curve that ends just as the numbers say."""
    trainings = folder / "trainings"
    trainings.mkdir(parents=True)
    (trainings / "settings.json").write_text(json.dumps({"dataset": dataset, "train_images": None}))
    points = [(step / 40, 0.2 + 0.6 * (step / 40) ** 0.5) for step in range(5, 30)]
    progress, accuracy = points[-1]
    moment = benchmark.Moment(dataset, progress, accuracy, forecast.slope(points), end=0.0)
    end = moment.error(moment.expected_rise(numbers)) / 100  # the error by an end of zero is the forecast itself
    log = {"checks": [*points, (1.0, end)], "val_accuracy": [end]}
    (trainings / "direct-depth=2-epochs=10-seed=0.json").write_text(json.dumps({"log": [log]}))
    return folder


def test_a_dataset_is_held_back_from_the_fit_that_it_judges(tmp_path):
    folders = [training(tmp_path / name, name) for name in ("one", "two")]
    folders.append(training(tmp_path / "other", "other", numbers=(2.0, 1.0, 0.02)))
    rows = {row["held_back"]: row for row in benchmark.measure(folders)}
    assert list(rows) == ["one", "two", "other"]
    assert rows["one"]["numbers"] == pytest.approx(rows["two"]["numbers"])  # both are fitted to the same curves
    assert rows["other"]["numbers"] != pytest.approx(rows["one"]["numbers"])
    late = rows["one"]["errors"]["as the package has it"][-1]
    assert late == pytest.approx((0, 0), abs=0.5) and "held back" in benchmark.table(list(rows.values()))


def test_other_numbers_of_images_are_another_dataset(tmp_path):
    folder = training(tmp_path / "one", "one")
    (folder / "trainings" / "settings.json").write_text(json.dumps({"dataset": "one", "train_images": 8000}))
    assert {moment.dataset for moment in benchmark.moments(folder)} == {"one, 8,000"}


def test_folders_without_trainings_and_one_dataset_alone_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no direct trainings"):
        benchmark.measure([tmp_path])
    with pytest.raises(InputError, match="takes two at least, got one"):
        benchmark.measure([training(tmp_path / "one", "one")])
