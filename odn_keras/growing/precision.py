"""The dtype policy and the compilation that are fastest on a processor and a backend."""

import pathlib

import keras


def precision(wanted: str = "auto", *, depthwise: bool = False) -> str:
    """The Keras dtype policy to train under.

    `"auto"` is bfloat16 on TensorFlow and a CPU that has instructions for it, where it is faster, else
    float32. There, networks of depthwise convolutions are trained in float32, too: `python -m benchmarks.precision`.

    Args:
        wanted: a policy, or `"auto"`.
        depthwise: whether the network has depthwise convolutions.
    """
    if wanted != "auto":
        return wanted
    faster = _tensorflow_on_cpu() and _cpu_has_bfloat16() and not depthwise
    return "mixed_bfloat16" if faster else "float32"


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
