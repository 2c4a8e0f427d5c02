import pytest

from odn_keras import DepthGrowth
from odn_keras.growing.stage import CYCLE
from odn_keras.runs.growth_picture import plot_growth


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
        plot_growth(growth, title, tmp_path / "growth.png")
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
def test_any_accuracies_can_be_plotted(stage, picture, values):
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
