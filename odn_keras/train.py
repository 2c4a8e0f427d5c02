"""Trains by progressive depth expansion and exports the network found.

    python -m odn_keras.train --dataset=mnist --target_accuracy=0.993 --out=runs/mnist
    python -m odn_keras.train --flagfile=flags/mnist.txt

Exit status: 0 target met, 3 target not met (the best network is exported all the same), 2 bad input.
"""

import dataclasses
import pathlib
import types
from typing import Any, get_args

from absl import flags

from odn_keras import cli
from odn_keras.options import RunOptions

TARGET_NOT_MET = 3

_DEFINERS: dict[type, Any] = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
}


def _define_flags() -> None:
    for option in dataclasses.fields(RunOptions):
        kind = next(t for t in _kinds(option.type) if t is not types.NoneType)
        choices = option.metadata["choices"]
        text = option.metadata["help"] + (f" One of {', '.join(map(str, choices))}." if choices else "")
        _DEFINERS[kind](option.name, option.default, text)
    flags.DEFINE_string("out", None, "The run's folder; default: runs/ and the dataset's name.")
    flags.DEFINE_boolean("overwrite", False, "Replace the run that --out holds.")


def _kinds(annotation) -> tuple:
    return get_args(annotation) or (annotation,)


def main() -> int:
    values = flags.FLAGS
    given: dict[str, Any] = {option.name: values[option.name].value for option in dataclasses.fields(RunOptions)}
    options = RunOptions(**given)
    out = pathlib.Path(values.out or pathlib.Path("runs", pathlib.Path(options.dataset).stem or "run"))

    cli.import_backend()  # heavy: only once the flags are known to be good
    from odn_keras import report, training

    result = training.run(options, out, overwrite=values.overwrite)
    print(f"\n{report.table(result)}\n")
    for name in training.RUN_FILES:
        print(f"  {out / name}")
    if result["target_met"]:
        return 0
    print(
        f"\nThe target was not met: {result['val_accuracy']:.4f} of {result['target_accuracy']:.4f}. "
        f"The best network is exported. Try more --epochs or --finetune_epochs, a larger --width, "
        "a deeper --backbone, or a lower target."
    )
    return TARGET_NOT_MET


_define_flags()

if __name__ == "__main__":
    cli.run(main)
