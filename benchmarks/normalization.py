"""What does the fused BatchNormalization bring? Trains one network with it and with Keras's own, in turns.

    python -m benchmarks.normalization --width=64 --depth=2

On random images, since only the time is looked at. Printed: images per second of each, and their ratio; medians over
the rounds. With another backend than TensorFlow the layer is Keras's own, and the ratio is 1.
"""

import statistics
import time

from absl import flags

from odn_keras import cli

flags.DEFINE_integer("width", 64, "Channels of the stem.")
flags.DEFINE_integer("depth", 2, "Residual blocks.")
flags.DEFINE_integer("batch_size", 128, "Images of a training step.")
flags.DEFINE_integer("steps", 10, "Training steps of a round.", lower_bound=1)
flags.DEFINE_integer("rounds", 5, "Rounds of each.", lower_bound=1)


def main() -> None:
    cli.import_keras()
    import keras
    import numpy as np

    from odn_keras import NetworkSpec, build
    from odn_keras.growing.precision import jit_compile, precision
    from odn_keras.networks.builder import with_dtype

    values = flags.FLAGS
    dtype = precision()
    fused = build(NetworkSpec("resnet18", (28, 28, 1), num_classes=10, width=values.width), values.depth, dtype)
    networks = {"fused": fused, "plain": with_dtype(fused, dtype)}
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (values.steps * values.batch_size, 28, 28, 1)).astype("float32")
    labels = rng.integers(0, 10, len(images))

    def train(network: keras.Model) -> float:
        began = time.perf_counter()
        network.fit(images, labels, batch_size=values.batch_size, verbose=0)
        return len(images) / (time.perf_counter() - began)

    for network in networks.values():
        network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=jit_compile())
        train(network)  # traces
    speeds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(values.rounds):
        for name, network in networks.items():
            speeds[name].append(train(network))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    print(f"{keras.backend.backend()}, {dtype}, width {values.width}, depth {values.depth}")
    for name, median in medians.items():
        print(f"{name:<14}{median:>8.0f} images/s")
    print(f"{'ratio':<14}{medians['fused'] / medians['plain']:>8.2f}")


if __name__ == "__main__":
    cli.run(main)
