"""How should a new block start? Grows a network by one block in several ways and compares the accuracies.

    python -m benchmarks.block_start --dataset=fashion_mnist --width=16 --train_images=12800 --seeds=3

For each seed one network is trained at depth 1; each way then trains the same network at depth 2, for the same
training MACs and with the same schedule:

    fresh / identity    the last BatchNorm of the new block starts with scale one, or zero (the block adds nothing)
    frozen / thawed     the prefix is frozen in the search and thawed for the fine-tuning, or never frozen

Printed: validation accuracy after the search (learning rate decayed to zero) and after the fine-tuning; medians over
the seeds.
"""

import json
import pathlib
import statistics

from absl import flags

from odn_keras import cli

flags.DEFINE_string("dataset", "fashion_mnist", "As for odn_keras.train.")
flags.DEFINE_string("data_dir", None, "As for odn_keras.train.")
flags.DEFINE_integer("width", 16, "Channels of the stem.")
flags.DEFINE_integer("train_images", 12_800, "Train on only so many images.")
flags.DEFINE_integer("seeds", 3, "Repetitions.")
flags.DEFINE_integer("first_epochs", 3, "Epochs at depth 1.")
flags.DEFINE_integer("search_epochs", 3, "Epochs at depth 2 before the fine-tuning.")
flags.DEFINE_integer("finetune_epochs", 5, "Epochs of fine-tuning, everything thawed.")
flags.DEFINE_string("out", "runs/block_start.json", "Where the figures go.")

WAYS = [(start, freeze) for start in ("fresh", "identity") for freeze in ("frozen", "thawed")]


def measure(seed: int) -> dict[str, tuple[float, float]]:
    """Validation accuracies after search and fine-tuning of each way, from one common network of depth 1."""
    import keras
    import numpy as np

    from odn_keras import NetworkSpec, build, deepen, load_dataset
    from odn_keras.data.batches import Batches, one_hot
    from odn_keras.growing.precision import jit_compile, precision
    from odn_keras.growing.schedules import one_cycle
    from odn_keras.networks import cost
    from odn_keras.networks.builder import set_frozen

    values = flags.FLAGS
    dataset = load_dataset(values.dataset, data_dir=values.data_dir, train_images=values.train_images, in_memory=True)
    images, labels = dataset.validation
    validation = images[:].astype(np.float32), one_hot(labels, dataset.num_classes)
    spec = NetworkSpec("resnet18", dataset.input_shape, dataset.num_classes, width=values.width)

    def train(network, epochs, batches):
        rate = one_cycle(0.1, epochs * len(batches))
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=0.005)
        network.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"], jit_compile=jit_compile())
        network.fit(batches, epochs=epochs, verbose=0)
        return network.evaluate(*validation, batch_size=500, verbose=0)[1]

    keras.utils.set_random_seed(seed)
    batches = Batches(dataset.train, dataset.num_classes, 128, seed)
    shallow = build(spec, 1, precision())
    print(f"seed {seed}: depth 1 {train(shallow, values.first_epochs, batches):.4f}", flush=True)
    results = {}
    for start, freeze in WAYS:
        keras.utils.set_random_seed(seed)
        network, _ = deepen(shallow, spec, freeze_prefix=freeze == "frozen")
        if start == "identity":
            scale = network.get_layer("block2_bn2").gamma
            scale.assign(keras.ops.zeros_like(scale))
        thawed_cost = cost.training_macs(build(spec, 2))
        # a frozen prefix makes an epoch cheaper: it gets as many more as cost the same
        epochs = round(values.search_epochs * thawed_cost / cost.training_macs(network))
        searched = train(network, epochs, batches)
        set_frozen(network, None)
        tuned = train(network, values.finetune_epochs, batches)
        results[f"{start}, {freeze}"] = searched, tuned
        print(f"seed {seed}: {start}, {freeze} ({epochs} epochs): {searched:.4f}, {tuned:.4f}", flush=True)
    return results


def main() -> None:
    runs = [measure(seed) for seed in range(flags.FLAGS.seeds)]
    print(f"\n{'new block, prefix':<22}{'after search':>14}{'fine-tuned':>12}   fine-tuned, each seed")
    for way in runs[0]:
        searched, tuned = zip(*(run[way] for run in runs), strict=True)
        each = ", ".join(f"{value:.4f}" for value in tuned)
        print(f"{way:<22}{statistics.median(searched):>14.4f}{statistics.median(tuned):>12.4f}   {each}")
    out = pathlib.Path(flags.FLAGS.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"flags": flags.FLAGS.flag_values_dict(), "runs": runs}, indent=2, default=str))


if __name__ == "__main__":
    cli.run(main)
