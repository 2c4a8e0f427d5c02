import csv

import pytest

from odn_keras import DepthGrowth, report
from odn_keras.growth import CYCLE, SETTLE, Stage


@pytest.fixture
def stages():
    return [
        Stage(1, CYCLE, 0, 9, values=[0.5, 0.6], forecasts=[None, 0.7], seconds=3.0, training_macs_per_image=10),
        Stage(2, SETTLE, 2, 3, values=[0.65], forecasts=[None], training_macs_per_image=10, fresh_layers=["head"]),
        Stage(2, CYCLE, 3, 5, values=[0.8, 0.9], forecasts=[None, 0.9], seconds=4.0, training_macs_per_image=25),
    ]


def test_stage_rows_count_the_macs_of_all_epochs(stages):
    rows = report.stage_rows(stages, train_images=100)
    assert [row["training_macs"] for row in rows] == [2000, 1000, 5000]
    assert [row["best_val_accuracy"] for row in rows] == [0.6, 0.65, 0.9]
    assert rows[1]["fresh_layers"] == ["head"]
    assert [row["forecast_val_accuracy"] for row in rows] == [0.7, None, 0.9]


def test_history_has_one_row_an_epoch_with_its_place(stages, tmp_path):
    history = {"val_accuracy": [0.5, 0.6, 0.65, 0.8, 0.9], "loss": [5, 4, 3, 2, 1]}
    report.write_history(history, stages, tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("12345")
    assert [row["depth"] for row in rows] == list("11222")
    assert rows[2]["phase"] == SETTLE and rows[4]["val_accuracy"] == "0.9"


def test_the_picture_is_a_picture(stages, tmp_path):
    from PIL import Image

    growth = DepthGrowth(0.85)
    growth.stages = stages
    report.draw_growth(growth, "digits", tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as image:
        assert image.size[0] > 600 and len(image.convert("RGB").getcolors(1 << 20)) > 10


def test_versions_name_what_computed():
    assert {"python", "keras", "numpy", "odn_keras"} <= report.versions().keys()
