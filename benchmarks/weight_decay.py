"""Should gamma and beta of batch normalization and biases decay as kernels do? Trains both ways, by a run's recipe.

    python -m benchmarks.weight_decay --dataset=fashion_mnist --width=16 --train_images=8000 --depth=3 --epochs=12

Printed after each training: validation accuracy of its best and of its last epoch.
"""

import dataclasses

from absl import flags

from odn_keras import cli
from odn_keras.runs.options import RunOptions

NOT_KERNELS = ["gamma", "beta", "bias"]

cli.define_option_flags(dataset="fashion_mnist", width=16, train_images=8_000, epochs=12, shift=2.0, flip=True)
flags.DEFINE_integer("depth", 3, "Residual blocks.", lower_bound=1)
flags.DEFINE_integer("seeds", 3, "Repetitions.", lower_bound=1)


def main() -> None:
    options = RunOptions(**cli.option_values())
    from odn_keras.runs import run_data

    dataset = run_data.load_by_options(dataclasses.replace(options, in_memory=True))
    for seed in range(flags.FLAGS.seeds):
        for excluded in ([], NOT_KERNELS):
            best, last = _train(dataclasses.replace(options, seed=seed), dataset, excluded)
            what = "kernels only" if excluded else "everything"
            print(f"seed {seed}, {what} decays: best {best:.4f}, last {last:.4f}", flush=True)


def _train(options: RunOptions, dataset, excluded: list[str]) -> tuple[float, float]:
    import keras

    from odn_keras import DepthGrowth
    from odn_keras.runs.training_setup import new_model, training_batches, validation_batches

    depth = flags.FLAGS.depth
    keras.utils.set_random_seed(options.seed)
    model = new_model(options, dataset, "float32", depth=depth)
    optimizer = keras.optimizers.SGD(
        options.learning_rate, momentum=0.9, nesterov=True, weight_decay=options.weight_decay
    )
    optimizer.exclude_from_weight_decay(var_names=excluded)
    model.compile(optimizer, "categorical_crossentropy")
    history = model.fit(
        training_batches(options, dataset),
        epochs=options.epochs,
        validation_data=validation_batches(dataset),
        callbacks=[DepthGrowth(None, max_depth=depth)],
        verbose=0,
    ).history["val_accuracy"]
    keras.backend.clear_session()
    return max(history), history[-1]


if __name__ == "__main__":
    cli.run(main)
