import csv

import pytest

from odn_keras import DepthGrowth
from odn_keras.growing.stage import CYCLE, SETTLE, Stage
from odn_keras.runs import report


@pytest.fixture
def stages():
    return [
        stage(1, CYCLE, 0, 36, [(4, 0.5), (6, 0.55), (8, 0.6)], steps=8, seconds=3.0, training_macs_per_image=10),
        stage(2, SETTLE, 8, 10, [], steps=2, training_macs_per_image=10, fresh_layers=["head"]),
        stage(2, CYCLE, 10, 20, [(12, 0.65), (16, 0.8), (20, 0.9)], seconds=4.0, training_macs_per_image=25),
    ]


def stage(depth, phase, first, end, checks, steps=None, **more):
    """A stage of epochs of four steps."""
    values = [accuracy for step, accuracy in checks if step % 4 == 0]
    return Stage(depth, phase, first, end, 4, steps=steps or end - first, checks=checks, values=values, **more)


def test_stage_rows_count_the_macs_of_all_epochs(stages):
    growth = DepthGrowth(0.85)
    growth.stages = stages
    rows = report.stage_rows(growth, train_images=100)
    assert [row["epochs"] for row in rows] == [2, 0.5, 2.5]
    assert [row["training_macs"] for row in rows] == [2000, 500, 6250]
    assert [row["best_val_accuracy"] for row in rows] == [0.6, None, 0.9]
    assert rows[1]["fresh_layers"] == ["head"]
    assert rows[0]["forecast_val_accuracy"] > 0.6 and rows[1]["forecast_val_accuracy"] is None
    assert rows[2]["forecast_val_accuracy"] == 0.9  # it has come to its end


def test_history_has_one_row_an_epoch_with_its_place(stages, tmp_path):
    history = {"val_accuracy": [0.5, 0.6, 0.65, 0.8, 0.9], "loss": [5, 4, 3, 2, 1]}
    report.write_history(history, stages, tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("12345")
    assert [row["depth"] for row in rows] == list("11222")
    assert rows[2]["phase"] == CYCLE and rows[4]["val_accuracy"] == "0.9"


@pytest.fixture
def picture(tmp_path, monkeypatch):
    """Plots the growth of some stages: the axes of the picture, and its file."""
    from matplotlib.figure import Figure

    made = []
    original = Figure.savefig

    def remember(figure, *arguments, **options):
        made.append(figure.axes[0])
        return original(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)

    def plot(stages, target=0.85, title="digits"):
        growth = DepthGrowth(target)
        growth.stages = stages
        report.plot_growth(growth, title, tmp_path / "growth.png")
        return made[-1], tmp_path / "growth.png"

    return plot


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_picture_shows_every_epoch(stages, picture):
    from PIL import Image

    axes, path = picture(stages)
    with Image.open(path) as image:
        assert image.size[0] > 600 and len(image.convert("RGB").getcolors(1 << 20)) > 10
    low, high = axes.get_ylim()
    assert low < 0.5 and high > 0.9
    assert "deeper" in legend(axes)


def test_the_legend_names_only_what_is_there(stages, picture):
    axes, _ = picture(stages[:1])
    assert "deeper" not in legend(axes) and "prefix frozen" not in legend(axes)


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, 0.2], [0.5], [0.9993, 0.99935]])
def test_any_accuracies_can_be_plotted(picture, values):
    axes, _ = picture(
        [stage(1, CYCLE, 0, 12, [(4 * epoch, value) for epoch, value in enumerate(values, 1)])], target=1.0
    )
    low, high = axes.get_ylim()
    assert low < min(values) + 1e-3 and max(values) - 1e-3 < high and low < high


@pytest.mark.parametrize("title", ["$x^2$", r"a $\\frac{", "50$ or 60$", "猫 and\n犬"])
def test_a_title_is_text_and_no_formula(stages, picture, title, recwarn):
    axes, path = picture(stages, title=title)
    assert not axes.title.get_parse_math() and "\n" not in axes.get_title()
    assert path.stat().st_size > 1000 and not recwarn.list


def test_versions_name_what_computed():
    assert {"python", "keras", "numpy", "odn_keras"} <= report.versions().keys()
