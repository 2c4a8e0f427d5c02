"""The next command to run, ready for a shell."""

import dataclasses
import pathlib
import shlex
from typing import Any

from odn_keras.runs.options import DataOptions

# The options that determine the test images and how they are read.
READING = ("dataset", "data_dir", "image_size", "resize", "grayscale")


def command(module: str, **flags: Any) -> str:
    """A command of the package with its flags; flags of `None` are left out.

    >>> command("specialize", run="runs/my run", max_flash=None)
    "python -m odn_keras.specialize '--run=runs/my run'"
    """
    given = [f"--{name}={value}" for name, value in flags.items() if value is not None]
    return shlex.join(["python", "-m", f"odn_keras.{module}", *given])


def classification(file: str) -> str:
    """A command that classifies images with a `.tflite` file."""
    return f"python -m odn_keras.classify {shlex.quote(file)} IMAGE ..."


def data_flags(options: DataOptions) -> dict[str, Any]:
    """The flags that determine the test images: the dataset, and others that differ from their defaults."""
    values = {field.name: (getattr(options, field.name), field.default) for field in dataclasses.fields(DataOptions)}
    return {name: values[name][0] for name in READING if name == "dataset" or values[name][0] != values[name][1]}


def evaluation_of_chain(folder: pathlib.Path, options: DataOptions) -> str:
    """A command that measures a routed chain on the test images in Python, as no command of the package does."""
    flags = data_flags(options)
    arguments = ", ".join([repr(flags.pop("dataset")), *(f"{name}={value!r}" for name, value in flags.items())])
    code = (
        "import odn_keras; "
        f"print(odn_keras.RoutedClassifier({str(folder)!r}).accuracy(*odn_keras.load_dataset({arguments}).test))"
    )
    return shlex.join(["python", "-c", code])
