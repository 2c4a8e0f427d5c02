"""How long does the exact search for a device's network take? On made-up losses and latencies: nothing is trained.

    python -m benchmarks.device_search --backbone=resnet50 --width=64

For networks of every depth of the backbone, each inner layer at 25, 50, 75 or 100 % of its width: all choices that none
dominates in predicted accuracy and flash, and the most accurate one within one limit, two, three and four at once (each
leaves the given share of the way from the least to the most), as `python -m odn_keras.specialize` searches for them.
Seconds are processor time of one thread, the median and the most over the seeds.
"""

import statistics
import time

import numpy as np
from absl import flags

from odn_keras import cli
from odn_keras.devices.block_search import BlockSearch, Cost, Limit
from odn_keras.devices.choices import Choices
from odn_keras.devices.latency_table import LatencyTable, parts
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.backbones import BACKBONES
from odn_keras.networks.budget import SIZES
from odn_keras.networks.elastic import FRACTIONS


def define_flags() -> None:
    flags.DEFINE_enum("backbone", "resnet50", sorted(BACKBONES), "Whose networks.")
    flags.DEFINE_integer("width", 64, "Channels of the stem.", lower_bound=1)
    flags.DEFINE_float("share", 0.5, "Of the way from the least to the most of a size, where its limit lies.")
    flags.DEFINE_integer("seeds", 3, "Losses and latencies that are tried.", lower_bound=1)


def made_up_losses(networks: Choices, depth: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Narrower costs no less; in steps of an image of 5,000, as measured losses have them."""
    lost = rng.exponential(0.02, (networks.layers(depth), len(FRACTIONS)))
    lost[:, -1] = 0
    lost = np.round(np.maximum.accumulate(lost[:, ::-1], axis=1)[:, ::-1] * 5000) / 5000
    return networks.sums(depth, lambda layer, fraction: lost[layer, FRACTIONS.index(fraction)])


def made_up_latencies(spec: NetworkSpec, rng: np.random.Generator) -> LatencyTable:
    """Wider is mostly slower."""
    plain = Choices(spec, FRACTIONS)
    found: dict[str, float] = {}
    for number in range(1, spec.max_depth + 1):
        for choice in plain.varied(number):
            for part in parts(plain.spec_of(choice), number):
                found[part] = sum(choice.fractions[-2:]) * rng.uniform(0.5, 1.5)
    return LatencyTable("made up", "none", None, 0.1, 1.0, found)


def searched(networks: Choices, depth: int, losses: list[np.ndarray], names: tuple[str, ...], share: float) -> bool:
    """Whether the search within limits of these sizes finds a network."""
    narrow, wide = (networks.of_options(depth, [option] * depth) for option in (0, -1))
    costs: list[Cost] = []
    limits = []
    for name in names:
        own = networks.costs(name, depth)
        least, most = networks.sizes(narrow)[name], networks.sizes(wide)[name]
        limit = networks.most(name, least + share * (most - least))
        limits.append(Limit(tuple(range(len(costs), len(costs) + len(own))), limit))
        costs += own
    return BlockSearch(losses, costs, limits).best() is not None


def main() -> None:
    values = flags.FLAGS
    spec = NetworkSpec(values.backbone, (32, 32, 3), num_classes=10, width=values.width)
    depths = range(1, spec.max_depth + 1)
    names = tuple(SIZES.values())
    seconds: dict[str, list[float]] = {}
    counts = []
    for seed in range(values.seeds):
        rng = np.random.default_rng(seed)
        networks = Choices(spec, FRACTIONS, made_up_latencies(spec, rng))
        losses = {depth: made_up_losses(networks, depth, rng) for depth in depths}
        began = time.process_time()
        fronts = [BlockSearch(losses[depth], networks.costs("flash_bytes", depth)).frontier(0) for depth in depths]
        seconds.setdefault("all that none dominates", []).append(time.process_time() - began)
        counts.append(sum(map(len, fronts)))
        for limited in (names[:1], names[:2], names[:3], names):
            began = time.process_time()
            for depth in depths:
                searched(networks, depth, losses[depth], limited, values.share)
            seconds.setdefault(f"best within {', '.join(limited)}", []).append(time.process_time() - began)
    print(
        f"{values.backbone}, width {values.width}, depths 1 to {spec.max_depth}: {counts} choices that none dominates\n"
    )
    print(f"{'':<64}{'median s':>10}{'most s':>10}")
    for what, taken in seconds.items():
        print(f"{what:<64}{statistics.median(taken):>10.2f}{max(taken):>10.2f}")


if __name__ == "__main__":
    cli.run(main, define_flags)
