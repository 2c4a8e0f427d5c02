import pytest

from odn_keras.devices.frontier import frontier_figure, frontier_table, plot_frontier

pytestmark = pytest.mark.one_backend


def points_of(*sizes, **more):
    return [
        {"depth": 1 + number % 2, "inner": [[4], [2, 3]], "flash_bytes": size, "arena_bytes": 5000, "macs": 70, **more}
        | {"val_accuracy": 0.5 + number / 100}
        for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    "sizes", [(4116, 4460, 7649), (30_000, 440_000), (5000,), (4097, 8191), (2000, 7999), (1000, 10**6), (4095, 4096)]
)
def test_the_sizes_can_be_read_off_the_picture(sizes, tmp_path):
    figure = frontier_figure(points_of(*sizes))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    least, most = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if least <= tick <= most]
    assert len(ticks) >= 2 and len({axes.xaxis.get_major_formatter()(tick, 0) for tick in ticks}) == len(ticks)
    plot_frontier(points_of(*sizes), tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").stat().st_size > 1000


def test_the_table_has_a_line_for_each_network():
    header, first, _ = frontier_table(points_of(4116, 12345, latency_ms=0.123456)).splitlines()
    assert " ".join(header.split()) == "depth flash, bytes arena, bytes MACs ms validation inner channels"
    assert first.split() == ["1", "4,116", "5,000", "70", "0.1235", "0.5000", "4", "2+3"]
