"""Compiles an int8 `.tflite` file for an Ethos-U NPU with Arm's Vela, and reads Vela's estimate of its cost."""

import csv
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from odn_keras.deploy.tflite_file.flatbuffer import without_plan
from odn_keras.errors import InputError
from odn_keras.files import replacing

KIB = 1024


@dataclass(frozen=True)
class EthosU:
    """Vela's estimate for its default system (at 500 MHz for the U55, flash off chip).

    Attributes:
        configuration: such as `"ethos-u55-128"`.
        sram_bytes: working memory used.
        flash_bytes: flash used, on and off chip.
        milliseconds: time of one inference.
        cpu_operators: operators the NPU cannot run.
    """

    configuration: str
    sram_bytes: int
    flash_bytes: int
    milliseconds: float
    cpu_operators: int


def check_configuration(configuration: str) -> None:
    """Raises `InputError` where Vela is not installed or does not know the accelerator."""
    if importlib.util.find_spec("ethosu") is None:
        raise InputError("compiling for Ethos-U needs Arm's Vela: pip install 'odn_keras[vela]'")
    from ethosu.vela.architecture_features import Accelerator

    known = Accelerator.member_list()
    if configuration not in known:
        raise InputError(f"Vela compiles for {', '.join(known)}, got {configuration!r}")


def compile_for_ethos_u(path: str | os.PathLike, configuration: str, target: str | os.PathLike) -> EthosU:
    """Compiles a file with Vela.

    Args:
        path: an int8 `.tflite` file.
        configuration: of the accelerator, such as `"ethos-u55-128"`.
        target: the compiled `.tflite` file to write.

    Raises:
        InputError: where Vela is not installed, does not know the configuration or cannot compile the file.
    """
    check_configuration(configuration)
    path = pathlib.Path(path)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source = folder / "model.tflite"  # whatever characters the file's own name has
        # Vela would keep the memory plan of other tensors than it ends up with
        source.write_bytes(without_plan(path.read_bytes()))
        arguments = [source, f"--accelerator-config={configuration}", f"--output-dir={folder}"]
        result = subprocess.run(
            [sys.executable, "-m", "ethosu.vela", *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
        summaries = list(folder.glob("*_summary_*.csv"))
        if result.returncode or not summaries:
            lines = (result.stderr or result.stdout).strip().splitlines()
            reason = lines[-1] if lines else f"status {result.returncode}"
            raise InputError(f"Vela cannot compile {path.name} for {configuration} ({reason})")
        with summaries[0].open(newline="") as file:
            (row,) = csv.DictReader(file)
        with replacing(target) as temporary:
            temporary.write_bytes((folder / "model_vela.tflite").read_bytes())
    return EthosU(
        configuration=configuration,
        sram_bytes=round(float(row["sram_memory_used"]) * KIB),
        flash_bytes=round((float(row["on_chip_flash_memory_used"]) + float(row["off_chip_flash_memory_used"])) * KIB),
        milliseconds=1000 * float(row["inference_time"]),
        cpu_operators=_cpu_operators(result.stdout),
    )


def _cpu_operators(text: str) -> int:
    line = next(line for line in text.splitlines() if line.startswith("CPU operators"))
    return int(line.split("=")[1].split("(")[0])
