"""What the presets of augmentation bring: the same network of fixed depth, trained from scratch with each of them.

    python -m benchmarks.augmentation --dataset=cifar10 --width=32 --depth=4 --epochs=15 --seeds=3 --out=runs/presets

Prints validation and test accuracy of each preset, median over the seeds, and the epochs per hour. What is finished is
kept in --out, and what was cut off is resumed by the same command.
"""

import dataclasses
import json
import pathlib
import statistics
import time

from absl import flags

from odn_keras import cli
from odn_keras.data.presets import PRESETS
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.runs.options import RunOptions


def define_flags() -> None:
    cli.define_option_flags(RunOptions, dataset="cifar10", width=32, epochs=15)
    flags.DEFINE_integer("at_depth", 4, "Depth of the network.", lower_bound=1)
    flags.DEFINE_list("presets", list(PRESETS), "Which presets, in order.")
    flags.DEFINE_integer("seeds", 1, "Repetitions.", lower_bound=1)
    flags.DEFINE_string("out", "runs/presets", "Where outcomes and checkpoints are kept.")


def main() -> None:
    values = flags.FLAGS
    options = RunOptions(**cli.option_values())
    if unknown := set(values.presets) - PRESETS.keys():
        raise InputError(f"--presets must be among {', '.join(PRESETS)}, got {', '.join(sorted(unknown))}")
    out = pathlib.Path(values.out)
    out.mkdir(parents=True, exist_ok=True)
    cli.import_keras()

    from odn_keras.growing.precision import precision
    from odn_keras.runs import run_data
    from odn_keras.runs.training_setup import network_spec

    dataset = run_data.load_by_options(options)
    spec, dtype = network_spec(options, dataset), precision(options.precision)
    rows = []
    for preset in values.presets:
        runs = [
            _outcome(dataclasses.replace(options, augment=preset, seed=seed), spec, dataset, dtype, out)
            for seed in range(values.seeds)
        ]
        rows.append((preset, *(statistics.median(run[name] for run in runs) for name in ("val", "test", "seconds"))))
    trained = f"width {spec.width}, depth {values.at_depth}, {options.epochs} epochs, {values.seeds} seeds"
    print(f"\n{options.dataset}, {trained}")
    print(f"{'preset':<12}{'validation':>12}{'test':>10}{'seconds':>10}")
    for preset, val, test, seconds in rows:
        print(f"{preset:<12}{val:>12.4f}{test:>10.4f}{seconds:>10.0f}")


def _outcome(options: RunOptions, spec, dataset, dtype: str, out: pathlib.Path) -> dict[str, float]:
    from odn_keras.devices.accuracy import accuracies
    from odn_keras.devices.finetuning import train_alone
    from odn_keras.runs.training_setup import recipe_of

    depth = flags.FLAGS.at_depth
    what = f"{options.dataset}-{spec.width}-{depth}-{options.epochs}-{options.augment}-{options.seed}"
    file = out / f"{what.replace('/', '_')}.json"
    if file.exists():
        return json.loads(file.read_text())
    print(f"\n== {options.augment}, seed {options.seed}", flush=True)
    began = time.perf_counter()
    recipe = recipe_of(options, dataset, epochs=options.epochs, dtype=dtype)
    network, cost = train_alone(spec, depth, dataset, recipe=recipe, checkpoints=out / "checkpoints")
    seconds = time.perf_counter() - began
    (test,) = accuracies(network, dataset.test, dataset.num_classes)
    outcome = {"val": cost["val_accuracy"], "test": test, "seconds": seconds}
    write_json(outcome, file)
    return outcome


if __name__ == "__main__":
    cli.run(main, define_flags)
