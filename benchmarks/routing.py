"""How much dynamic routing saves on real data, and which measure of confidence routes best.

    python -m benchmarks.routing --dataset=fashion_mnist --train_images=20000 --keep=runs/routing_fashion.keras

Trains a small network with an exit after every block, or takes the one that --keep has. Thresholds are set on
validation images; every figure but the promise is of the test images. Networks are float: `python -m odn_keras.route`
calibrates int8 ones.

The learned gate of an exit is a logistic regression on its probabilities that tells whether leaving there is right, or
no worse than the end; it learns from the half of the validation images that proposes thresholds.
"""

import pathlib

from absl import flags

from odn_keras import cli
from odn_keras.runs.options import DataOptions

DROPS = (0.005, 0.01)


def define_flags() -> None:
    cli.define_option_flags(DataOptions)
    flags.DEFINE_integer("width", 16, "Of the network.", lower_bound=1)
    flags.DEFINE_integer("depth", 4, "Of the network, a ResNet-18.", lower_bound=2)
    flags.DEFINE_integer("epochs", 6, "Of its training.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of its training.", lower_bound=0)
    flags.DEFINE_string("keep", None, "A .keras file for the trained network; where it is there it is not trained.")


def _trained(dataset, width: int, depth: int, epochs: int, seed: int):
    import keras

    from odn_keras import Batches, DepthGrowth, EvaluationBatches, OptimallyDeepNetwork, RunOptions
    from odn_keras.data.batches import EVALUATION_BATCH
    from odn_keras.growing.optimizers import sgd
    from odn_keras.growing.precision import precision

    keras.utils.set_random_seed(seed)
    recipe = RunOptions()
    model = OptimallyDeepNetwork(
        "resnet18",
        dataset.input_shape,
        dataset.num_classes,
        width=width,
        depth=depth,
        exits="all",
        dtype=precision(recipe.precision),
    )
    model.compile(sgd(recipe.learning_rate, recipe.weight_decay), "categorical_crossentropy")
    model.fit(
        Batches(dataset.train, dataset.num_classes, recipe.batch_size, seed),
        epochs=epochs,
        validation_data=EvaluationBatches(dataset.validation, dataset.num_classes, EVALUATION_BATCH),
        callbacks=[DepthGrowth(1.0, max_depth=depth, cycle_epochs=epochs, verbose=0)],
        verbose=2,
    )
    return model.network


def _kept_or_trained(dataset, values):
    """The network in --keep; where there is none, trained and, if wanted, kept there."""
    from odn_keras.networks.builder import load, with_dtype

    kept = pathlib.Path(values.keep) if values.keep else None
    if kept and kept.exists():
        return load(kept)
    network = with_dtype(_trained(dataset, values.width, values.depth, values.epochs, values.seed), "float32")
    if kept:
        network.save(kept)
    return network


def main() -> None:
    values = flags.FLAGS
    cli.import_keras()
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from odn_keras import EvaluationBatches
    from odn_keras.data.batches import EVALUATION_BATCH
    from odn_keras.devices.exit_thresholds import PROPOSING, calibrate, confidence, exits_taken
    from odn_keras.networks import cost
    from odn_keras.runs import run_data

    dataset = run_data.load_by_options(DataOptions(**cli.option_values(DataOptions)))
    network = _kept_or_trained(dataset, values)

    def answers(split):
        return network.predict(EvaluationBatches(split, dataset.num_classes, EVALUATION_BATCH), verbose=0)

    def log(probabilities):
        return np.log(np.maximum(probabilities, 1e-6))

    def margin(probabilities):
        least, most = np.sort(probabilities, axis=-1)[:, -2:].T
        return most - least

    def evenness(probabilities):
        return 1 + np.sum(probabilities * log(probabilities), axis=-1) / np.log(probabilities.shape[-1])

    def features(probabilities):
        classes = probabilities.shape[-1]
        answered = np.eye(classes)[probabilities.argmax(axis=-1)]
        return np.concatenate([log(probabilities), np.sort(log(probabilities)), answered], axis=-1)

    def learned(probabilities, end, labels):
        good = (probabilities.argmax(axis=-1) == labels) | (end.argmax(axis=-1) != labels)
        gate = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        gate.fit(features(probabilities), good)
        return lambda probabilities: gate.predict_proba(features(probabilities))[:, 1]

    macs = cost.macs_per_output(network)
    validation, test = answers(dataset.validation), answers(dataset.test)
    labels = dataset.test[1]
    right = np.array([output.argmax(axis=-1) == labels for output in test])
    gates = [
        learned(output[PROPOSING], validation[-1][PROPOSING], dataset.validation[1][PROPOSING])
        for output in validation[:-1]
    ]
    exits = len(gates)
    rules = {
        "largest probability": [confidence] * exits,
        "margin of the best two": [margin] * exits,
        "entropy": [evenness] * exits,
        "learned gate": gates,
    }
    print(f"\n{dataset.name}: {len(dataset.validation[1]):,} validation images, {len(labels):,} test images\n")
    print(f"{'exit':<8}{'MACs':>14}{'accuracy':>10}")
    for number, (exit_macs, exit_right) in enumerate(zip(macs, right, strict=True), start=1):
        print(f"{number:<8}{exit_macs:>14,}{exit_right.mean():>10.4f}")
    print(f"\n{'promised':<10}{'rule':<24}{'accuracy':>10}{'change':>10}{'MACs saved':>12}  share per exit")
    for drop in DROPS:
        for name, rule in rules.items():
            of_validation, of_test = (
                [sure(output) for sure, output in zip(rule, outputs[:-1], strict=True)]
                for outputs in (validation, test)
            )
            routing = calibrate(validation, dataset.validation[1], macs, drop, of_validation)
            taken = exits_taken(of_test, routing.thresholds)
            accuracy = right[taken, np.arange(len(labels))].mean()
            shares = np.bincount(taken, minlength=len(macs)) / len(labels)
            saved = 1 - shares @ macs / macs[-1]
            shown = " ".join(f"{share:.0%}" for share in shares)
            print(f"{drop:<10}{name:<24}{accuracy:>10.4f}{accuracy - right[-1].mean():>+10.4f}{saved:>12.1%}  {shown}")


if __name__ == "__main__":
    cli.run(main, define_flags)
