"""How many times fewer training MACs a finished run took than the paper's own code.

    python -m benchmarks.against_paper --run=runs/mnist

The paper's cost is that of the epochs its code logged at each depth (arXiv 2510.10764), on as many images as the run's
and in the run's network, after a warm-up that trains all depths jointly; the warm-up is counted as one pass through the
full network, which is the least it can cost. Of a run that continues another one both are counted.
"""

import pathlib
from dataclasses import dataclass
from typing import Any

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.runs.finished_run import finished_report

WARMUP_EPOCHS = 3
PAPER_WIDTH = 64


@dataclass(frozen=True)
class Published:
    """What the paper reports of a dataset, and what its code logged.

    Attributes:
        backbone: of width 64.
        test_accuracy: at the depth it found.
        epochs: at each depth from 1 to the one it found.
    """

    backbone: str
    test_accuracy: float
    epochs: tuple[int, ...]


PUBLISHED = {
    "mnist": Published("resnet18", 0.9931, (82, 80)),
    "fashion_mnist": Published("resnet34", 0.9354, (110, 95, 23, 62, 46, 44)),
    "svhn": Published("resnet34", 0.9608, (156, 93, 79, 59, 108)),
}


def paper_macs(published: Published, spec: NetworkSpec, images: int) -> int:
    """Training MACs of the paper's protocol with so many training images."""
    from odn_keras import build
    from odn_keras.networks import cost

    epochs = {**dict(enumerate(published.epochs, start=1)), spec.max_depth: WARMUP_EPOCHS}
    return images * sum(count * cost.training_macs(build(spec, depth)) for depth, count in epochs.items())


def with_earlier(report: dict[str, Any]) -> tuple[int, int]:
    """Epochs and training MACs of a run and of those that it continues.

    Raises:
        InputError: where one of these is gone.
    """
    epochs, macs = report["epochs"], report["training_macs"]
    while continued := report.get("continued"):
        report = finished_report(continued["run"], "epochs", "training_macs")
        epochs, macs = epochs + report["epochs"], macs + report["training_macs"]
    return epochs, macs


def define_flags() -> None:
    flags.DEFINE_string("run", None, "The folder of a finished run.", required=True)


def main() -> None:
    folder = pathlib.Path(flags.FLAGS.run)
    report = finished_report(folder)
    classes = len((folder / "labels.txt").read_text(encoding="utf-8").splitlines())
    published = PUBLISHED.get(report["dataset"])
    if published is None:
        raise InputError(f"the paper logged no epochs for {report['dataset']}: only for {', '.join(PUBLISHED)}")
    cli.import_keras()
    options, images = report["options"], report["images"]
    spec = NetworkSpec(report["backbone"], images["shape"], classes, options["width"], options["stem_stride"])
    theirs, epochs = paper_macs(published, spec, images["train"]), WARMUP_EPOCHS + sum(published.epochs)
    our_epochs, ours = with_earlier(report)
    print(f"{report['dataset']}, {images['train']:,} training images, {spec.backbone} of width {spec.width}")
    if (spec.backbone, spec.width, spec.stem_stride) != (published.backbone, PAPER_WIDTH, 1):
        print(f"(the paper's network is {published.backbone} of width {PAPER_WIDTH}: accuracies do not compare)")
    print(f"{'':<8}{'depth':>6}{'test accuracy':>15}{'epochs':>8}{'training MACs':>15}")
    for name, row in (
        ("paper", (len(published.epochs), published.test_accuracy, epochs, theirs)),
        ("run", (report["depth"], report["test_accuracy"], our_epochs, ours)),
    ):
        print(f"{name:<8}{row[0]:>6}{row[1]:>15.4f}{row[2]:>8}{row[3]:>15.3g}")
    print(f"training MACs, the paper's by the run's: {theirs / ours:.1f}")


if __name__ == "__main__":
    cli.run(main, define_flags)
