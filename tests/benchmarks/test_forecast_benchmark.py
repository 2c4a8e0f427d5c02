import json

import pytest

from benchmarks import forecast as benchmark
from odn_keras import InputError
from odn_keras.growing import forecast


def training(folder, dataset, trend, fall):
    """A folder as `benchmarks.search_cost` leaves it, with a curve that grows just as the constants say."""
    trainings = folder / "trainings"
    trainings.mkdir(parents=True)
    (trainings / "settings.json").write_text(json.dumps({"dataset": dataset}))
    points = [(step / 40, 0.2 + 0.6 * (step / 40) ** 0.5) for step in range(5, 30)]
    progress, accuracy = points[-1]
    moment = benchmark.Moment(dataset, progress, accuracy, forecast.trend(points), end=0.0)
    end = moment.error(trend * moment.trend + fall) / 100  # the error by an end of zero is the forecast itself
    log = {"checks": [*points, (1.0, end)], "val_accuracy": [end]}
    (trainings / "direct-depth=2-epochs=10-seed=0.json").write_text(json.dumps({"log": [log]}))
    return folder


def test_a_dataset_is_held_back_from_the_fit_that_it_judges(tmp_path):
    folders = [training(tmp_path / name, name, forecast.TREND, forecast.FALL) for name in ("one", "two", "three")]
    rows = benchmark.measure(folders)
    assert [row["held_back"] for row in rows] == ["one", "two", "three"]
    assert rows[0]["trend"] == pytest.approx(rows[1]["trend"])  # the curves are the same
    late = rows[0]["errors"]["as the package has it"][-1]
    assert late == pytest.approx((0, 0), abs=0.5) and "held back" in benchmark.table(rows)


def test_folders_without_trainings_and_one_dataset_alone_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no direct trainings"):
        benchmark.measure([tmp_path])
    with pytest.raises(InputError, match="takes two at least, got one"):
        benchmark.measure([training(tmp_path / "one", "one", 0.85, 0.2)])
