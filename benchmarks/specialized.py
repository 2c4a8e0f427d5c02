"""Are networks cut out of one run as good as the same ones trained alone, and what does that save?

    python -m odn_keras.train --dataset=fashion_mnist --width=16 --train_images=50000 --shift=2 --flip --exits=3,4,5,6 \
        --max_depth=7 --target_accuracy=0.99 --epochs=48 --cycle_epochs=24 --shrink_epochs=3 --out=runs/supernet_fashion
    for kb in 32 64 128 256 512; do python -m odn_keras.specialize --run=runs/supernet_fashion --max_flash=${kb}KB \
        --max_arena=64KB --finetune_epochs=4 --out=runs/supernet_fashion/${kb}kb; done
    python -m benchmarks.specialized --run=runs/supernet_fashion --devices=32kb,64kb,128kb,256kb,512kb

Each architecture is trained alone with the run's recipe, for as many epochs as the whole run took or --alone_epochs, in
one cycle of the learning rate. Accuracies are of validation images, where the cut-out ones were chosen. What is trained
is kept beside the device's files, and the same command resumes where it was cut off.
"""

import json
import pathlib
import shutil

from absl import flags

from odn_keras import cli
from odn_keras.files import write_json
from odn_keras.runs.finished_run import finished_report
from odn_keras.runs.options import DataOptions, RunOptions

ALONE, CHECKPOINTS = "alone_{}_epochs.json", ".alone"


def define_flags() -> None:
    cli.define_option_flags(DataOptions)
    flags.DEFINE_string("run", None, "The folder of the run.", required=True)
    flags.DEFINE_list("devices", None, "Folders in it that odn_keras.specialize wrote.", required=True)
    flags.DEFINE_integer("alone_epochs", None, "Of each training alone; default: those of the run.", lower_bound=1)


def main() -> None:
    values = flags.FLAGS
    report = finished_report(values.run)
    folders = [pathlib.Path(values.run, device) for device in values.devices]
    options = RunOptions(**{**report["options"], **cli.option_values(DataOptions, given_only=True)})
    epochs = values.alone_epochs or report["epochs"]
    kept, rows = ALONE.format(epochs), []
    for folder in folders:
        if not (folder / kept).exists():
            architecture = json.loads((folder / "specialize.json").read_text())
            write_json(_alone(options, architecture, report, epochs, folder / CHECKPOINTS), folder / kept)
            shutil.rmtree(folder / CHECKPOINTS)
        rows.append((folder.name, *(json.loads((folder / name).read_text()) for name in ("specialize.json", kept))))
    print(
        f"\n{'device':<10}{'depth':>6}{'flash, bytes':>14}{'cut out':>10}{'finetuned':>11}{'alone':>10}{'change':>10}"
        f"{'MACs alone':>14}"
    )
    finetuning = 0.0
    for name, device, alone in rows:
        tuned = device.get("finetuning") or {"val_accuracy_before": device["val_accuracy"], "training_macs": 0}
        finetuning += tuned["training_macs"]
        print(
            f"{name:<10}{device['depth']:>6}{device['flash_bytes']:>14,}{tuned['val_accuracy_before']:>10.4f}"
            f"{device['val_accuracy']:>11.4f}{alone['val_accuracy']:>10.4f}"
            f"{device['val_accuracy'] - alone['val_accuracy']:>+10.4f}{alone['training_macs']:>14.3g}"
        )
    total, run = sum(alone["training_macs"] for *_, alone in rows), report["training_macs"]
    print(
        f"\nall of them alone {total:.3g} MACs, {total / (run + finetuning):.2f} times the run's {run:.3g} and the "
        f"finetuning's {finetuning:.3g}"
    )


def _alone(options: RunOptions, architecture: dict, report: dict, epochs: int, checkpoints: pathlib.Path) -> dict:
    cli.import_keras()
    from odn_keras.devices.finetuning import train_alone
    from odn_keras.networks.architectures import NetworkSpec
    from odn_keras.runs import run_data
    from odn_keras.runs.training_setup import recipe_of

    dataset, depth = run_data.load_by_options(options), architecture["depth"]
    spec = NetworkSpec(**{**report["supernet"]["spec"], "exits": (), "inner": architecture["inner"]})
    recipe = recipe_of(options, dataset, epochs=epochs, dtype=report["precision"])
    _, cost = train_alone(spec, depth, dataset, recipe=recipe, checkpoints=checkpoints)
    return cost


if __name__ == "__main__":
    cli.run(main, define_flags)
