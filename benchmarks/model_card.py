"""The lines of tflite_models/README.md for a finished and exported run.

python -m benchmarks.model_card --run=runs/mnist --name=mnist
"""

import json
import pathlib

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.runs.finished_run import finished_report


def define_flags() -> None:
    flags.DEFINE_string("run", None, "The folder of a finished and exported run.", required=True)
    flags.DEFINE_string("name", None, "What the files are called in tflite_models/.", required=True)


def main() -> None:
    folder = pathlib.Path(flags.FLAGS.run)
    report = finished_report(folder)
    try:
        export = json.loads((folder / "export" / "export.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} is not exported ({error})") from error
    stem = "" if report["stem_stride"] == 1 else ", stem of stride 2"
    pruning = report.get("pruning")  # not in reports of earlier versions
    pruned = f", {pruning['param_reduction']:.0%} pruned".replace("%", " %") if pruning else ""
    depth = f"{report['depth']} of {report['max_depth']}, width {report['width']}{stem}{pruned}"
    arena = export["microcontroller"]["arena_bytes"]
    names = {"model.tflite": flags.FLAGS.name, "android.tflite": f"{flags.FLAGS.name}_rgb"}
    for file in export["files"]:
        cells = [
            f"`{names[file['file']]}.tflite`",
            report["dataset"],
            depth,
            f"{report['test_accuracy']:.2%} / {file['accuracy']:.2%}".replace("%", " %"),
            f"{file['bytes']:,}",
            f"{arena:,}" if file["file"] == "model.tflite" else "",
            f"{report['macs']:,}",
            f"{file['median_ms']:.2f} ms",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    cli.run(main, define_flags)
