"""What a training found and what it cost."""

from dataclasses import dataclass, field

PAPER_MARGIN = 0.005


@dataclass
class Outcome:
    """What a protocol found and what it cost.

    Attributes:
        depth: residual blocks of the network chosen.
        epochs: trained, over all networks.
        training_macs: multiply-accumulates of all training steps.
        seconds: wall-clock time of the training.
        val_accuracy, test_accuracy: of the network chosen.
        log: what happened, in the protocol's own terms.
    """

    depth: int
    epochs: int
    training_macs: int
    seconds: float
    val_accuracy: float
    test_accuracy: float
    log: list = field(default_factory=list)


def reached(value: float, target: float) -> bool:
    """Whether an accuracy, which Keras logs in float32, is at least the target."""
    return value >= target - 1e-6
