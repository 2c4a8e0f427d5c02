"""The choices of an export: quantisation, targets, Ethos-U configuration, and a budget to compare with."""

import importlib.util
from dataclasses import dataclass

from odn_keras.deploy.convert.tflite import QUANTIZATIONS
from odn_keras.deploy.micro.vela import check_configuration
from odn_keras.devices.withholding import check_promise
from odn_keras.errors import InputError
from odn_keras.networks.budget import Budget

MICROCONTROLLER, ANDROID = "microcontroller", "android"
TARGETS = (MICROCONTROLLER, ANDROID)
TARGETS_OF = {"int8": TARGETS, "qat": (MICROCONTROLLER,)}  # fine-tuned weights are in their int8 file only


@dataclass(frozen=True)
class ExportChoices:
    """The choices of one export.

    Attributes:
        quantize: one of `QUANTIZATIONS`, or `"qat"` for quantisation-aware training.
        targets: `"microcontroller"` for `model.cc` and `model.h`, with the arena measured in TFLite Micro; `"android"`
            for `android.tflite`, with three channels and metadata. Default: with `"int8"` both, with `"qat"` the
            first, with the others none; no more is possible.
        vela: an Ethos-U configuration such as `"ethos-u55-128"`, for `model_vela.tflite`.
        budget: what `model.tflite`, its arena in TFLite Micro and its latency (in LiteRT on one thread of this machine;
            with `vela` Vela's estimate) are compared with; nothing is changed to keep it.
        reject: the accuracy to promise of the answers that are given: the files say below which confidence an answer is
            withheld. Default: every answer is given.
    """

    quantize: str = "int8"
    targets: tuple[str, ...] | None = None
    vela: str | None = None
    budget: Budget | None = None
    reject: float | None = None

    @property
    def all_targets(self) -> tuple[str, ...]:
        """The targets, those by default included."""
        return TARGETS_OF.get(self.quantize, ()) if self.targets is None else self.targets

    def check(self) -> None:
        """Raises `InputError` for choices that are unknown or exclude each other, or need a package that is missing."""
        if self.reject is not None:
            check_promise(self.reject)
        known = (*QUANTIZATIONS, "qat")
        if self.quantize not in known:
            raise InputError(f"quantize must be one of {', '.join(known)}, got {self.quantize!r}")
        for target in self.targets or ():
            self._check_target(target)
        limits_arena = self.budget is not None and self.budget.max_arena is not None
        if self.vela and self.quantize not in TARGETS_OF:
            raise InputError(f"Ethos-U takes integer files only: quantize as int8 or qat, not {self.quantize}")
        if limits_arena and self.quantize not in TARGETS_OF:
            raise InputError(f"only integer files have an arena: quantize as int8 or qat, not {self.quantize}")
        needed = {
            "micro": ("tflite_micro", limits_arena or MICROCONTROLLER in self.all_targets),
            "qat": ("tensorflow_model_optimization", self.quantize == "qat"),
        }
        for extra, (package, is_needed) in needed.items():
            if is_needed and importlib.util.find_spec(package) is None:
                raise InputError(f"this export needs {package}: pip install 'odn_keras[{extra}]'")
        if self.vela:
            check_configuration(self.vela)

    def _check_target(self, target: str) -> None:
        if target not in TARGETS:
            raise InputError(f"targets must be among {', '.join(TARGETS)}, got {target!r}")
        if target not in TARGETS_OF.get(self.quantize, ()):
            allowing = " or ".join(choice for choice, allowed in TARGETS_OF.items() if target in allowed)
            raise InputError(f"the target {target} needs a file quantised as {allowing}, not {self.quantize}")
