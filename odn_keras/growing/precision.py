"""The dtype policy and the compilation that are fastest on a processor and a backend."""

import pathlib

import keras


def precision(wanted: str = "auto") -> str:
    """The Keras dtype policy to train under.

    `"auto"` is bfloat16 on TensorFlow and a CPU that has instructions for it, where it is faster, else
    float32.
    """
    if wanted != "auto":
        return wanted
    return "mixed_bfloat16" if _tensorflow_on_cpu() and _cpu_has_bfloat16() else "float32"


def jit_compile() -> bool | str:
    """Keras's `jit_compile`: its own choice, but none on TensorFlow and a CPU, where XLA slows convolutions down."""
    return False if _tensorflow_on_cpu() else "auto"


def _tensorflow_on_cpu() -> bool:
    return keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu")


def _cpu_has_bfloat16() -> bool:
    try:
        features = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in features or "amx_bf16" in features
