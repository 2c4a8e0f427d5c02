"""Processor time of a training step in bfloat16 by that in float32, on TensorFlow: what `--precision=auto` rests on.

    python -m benchmarks.precision

Networks take turns; of each the median of the rounds counts. Images are random.
"""

import statistics
import time

import numpy as np
from absl import flags

from odn_keras import cli
from odn_keras.networks.architectures import NetworkSpec

POLICIES = ("float32", "mixed_bfloat16")
NETWORKS = [
    (NetworkSpec("resnet8", (32, 32, 3), 10), 3),
    (NetworkSpec("resnet18", (28, 28, 1), 10), 2),
    (NetworkSpec("ds_cnn", (32, 32, 3), 10, 64, stem_stride=2), 3),
    (NetworkSpec("ds_cnn", (32, 32, 3), 10, 16), 6),
    (NetworkSpec("mobilenetv2", (32, 32, 3), 10, 16, stem_stride=2), 8),
]
BATCH = 128


def stepper(spec: NetworkSpec, depth: int, policy: str):
    """A function that trains the network for a step; it has been called."""
    from odn_keras import build
    from odn_keras.growing.precision import jit_compile

    network = build(spec, depth, policy)
    network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=jit_compile())
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (BATCH, *spec.input_shape)).astype("float32")
    labels = rng.integers(0, spec.num_classes, BATCH)

    def step() -> None:
        network.train_on_batch(images, labels)

    step()
    return step


def main() -> None:
    cli.import_keras()
    from odn_keras.deploy.latency_measurement import machine

    steps = {(spec, depth, policy): stepper(spec, depth, policy) for spec, depth in NETWORKS for policy in POLICIES}
    took: dict = {key: [] for key in steps}
    for _ in range(flags.FLAGS.rounds):
        for key, step in steps.items():
            began = time.process_time()
            step()
            took[key].append(1000 * (time.process_time() - began))
    print(f"{'network':<36}{'float32, ms':>13}{'bfloat16, ms':>14}{'ratio':>8}")
    for spec, depth in NETWORKS:
        exact, brief = (statistics.median(took[spec, depth, policy]) for policy in POLICIES)
        name = f"{spec.name}, width {spec.width}, depth {depth}"
        print(f"{name:<36}{exact:>13.1f}{brief:>14.1f}{brief / exact:>8.2f}")
    print(f"processor time of a step of {BATCH} images, {machine()}")


def define_flags() -> None:
    flags.DEFINE_integer("rounds", 10, "Steps of each network.", lower_bound=1)


if __name__ == "__main__":
    cli.run(main, define_flags)
