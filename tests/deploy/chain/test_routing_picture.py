import warnings

import numpy as np
import pytest

from odn_keras.deploy.chain.routing_picture import RoutedImages, plot_routing, routing_figure

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize("shape", [(1, 8, 1), (8, 8, 2), (8, 1, 3), (8, 8, 4), (8, 8, 5)])
def test_images_of_every_shape_are_plotted(tmp_path, shape):
    images, labels, exits = np.zeros((4, *shape), np.uint8), np.zeros(4, int), np.array([0, 1, 1, 0])
    plot_routing(RoutedImages(images, labels, labels, exits, ["cat", "dog"], stages=2), tmp_path / "routing.png")
    assert (tmp_path / "routing.png").stat().st_size > 1000


NAMES = ["$x_1$", "a$b", r"\frac{1}{", "two\nlines", "\udcff.bin", "猫", "x" * 300, ""]


def test_names_are_shown_as_they_are_and_wrong_answers_beside_them(tmp_path):
    labels, answers = np.arange(len(NAMES)), np.array([1, *range(1, len(NAMES))])
    images, exits = np.zeros((len(NAMES), 8, 8, 1), np.uint8), np.zeros(len(NAMES), int)
    routed = RoutedImages(images, labels, answers, exits, NAMES, stages=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_routing(routed, tmp_path / "routing.png")
    titles = [axes.title for axes in routing_figure(routed).axes]
    words = [title.get_text() for title in titles if title.get_text()]
    assert words[:4] == ["$x_1$\nsays a$b", "a$b", r"\frac{1}{", "two lines"] and len(words[6]) < 20
    assert not any(title.get_parse_math() for title in titles if title.get_text())
