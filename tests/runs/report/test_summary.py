import csv

from odn_keras import DepthGrowth
from odn_keras.growing.stage import CYCLE
from odn_keras.runs.report import summary


def test_stage_rows_count_the_macs_of_all_epochs(stages):
    growth = DepthGrowth(0.85)
    growth.stages = stages
    rows = summary.stage_rows(growth, train_images=100)
    assert [row["epochs"] for row in rows] == [2, 0.5, 2.5]
    assert [row["training_macs"] for row in rows] == [2000, 500, 6250]
    assert [row["best_val_accuracy"] for row in rows] == [0.6, None, 0.9]
    assert rows[1]["fresh_layers"] == ["head"]
    assert rows[0]["forecast_val_accuracy"] > 0.6 and rows[1]["forecast_val_accuracy"] is None
    assert rows[2]["forecast_val_accuracy"] == 0.9  # it has come to its end


def test_history_has_one_row_an_epoch_with_its_place(stages, tmp_path):
    history = {"val_accuracy": [0.5, 0.6, 0.65, 0.8, 0.9], "loss": [5, 4, 3, 2, 1]}
    summary.write_history(history, stages, tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("12345")
    assert [row["depth"] for row in rows] == list("11222")
    assert rows[2]["phase"] == CYCLE and rows[4]["val_accuracy"] == "0.9"


def test_versions_name_what_computed():
    assert {"python", "keras", "numpy", "odn_keras"} <= summary.versions().keys()
