"""What the kernels of TensorFlow Lite Micro take besides activations: scratch memory, and instructions.

`reference` are its portable kernels, as the `tflite-micro` wheel runs them on a 64-bit computer; `cmsis_nn` those of
CMSIS-NN on a 32-bit Arm Cortex-M. Scratch sizes are those that CMSIS-NN's `arm_convolve_wrapper_s8_get_buffer_size` and
`arm_depthwise_conv_wrapper_s8_get_buffer_size` return, of all its variants for convolutions the largest, for depthwise
ones that of cores without Helium. All other constants were fitted to five models on a Cortex-M4F in an emulator:
docs/DEPLOYING.md has the figures.
"""

from typing import NamedTuple

REFERENCE, CMSIS_NN = "reference", "cmsis_nn"
KERNELS = (REFERENCE, CMSIS_NN)

LANES = 16  # int8 numbers to which CMSIS-NN rounds a column up
COLUMNS = 4  # bytes of scratch for each weight of a filter: two columns of int16, or four of int8
# Bytes of the arena less than on a 64-bit computer, once, for each convolution and addition: three quarters of what
# was measured, so that other networks are not predicted too small.
NARROW, NARROW_CONVOLUTION, NARROW_ADDITION = 549, 72, 12
HANDLES, HANDLE = 44, 4  # bytes that remember where scratch is, once and for each convolution
# Instructions of a multiply-accumulate, of an output of a convolution, and of a number that another operator reads.
INSTRUCTIONS = {REFERENCE: (5.35, 490.0, 60.0), CMSIS_NN: (1.6, 100.0, 74.0)}


class Filters(NamedTuple):
    """The filters of a convolution.

    Attributes:
        area: height times width, in pixels.
        into: channels that the convolution reads.
        stride: in both directions.
        depthwise: whether each channel is filtered for itself.
    """

    area: int
    into: int
    stride: int = 1
    depthwise: bool = False

    @property
    def weights(self) -> int:
        """Weights of each filter."""
        return self.area * (1 if self.depthwise else self.into)


def scratch_bytes(filters: Filters, kernels: str) -> int:
    """Bytes of the arena that a convolution takes while it runs, besides its input and its output.

    >>> scratch_bytes(Filters(9, 64), "cmsis_nn"), scratch_bytes(Filters(9, 64), "reference")
    (2304, 0)
    >>> scratch_bytes(Filters(1, 64), "cmsis_nn"), scratch_bytes(Filters(25, 64, depthwise=True), "cmsis_nn")
    (0, 3200)
    """
    if kernels == REFERENCE:
        return 0
    if filters.depthwise:
        return 0 if filters.area == 9 else 2 * filters.area * filters.into
    if filters.area == 1 and filters.stride == 1:
        return 0
    return COLUMNS * -(-filters.weights // LANES) * LANES


def arena_difference(kernels: str, convolutions: int, additions: int) -> int:
    """Bytes that the arena takes more than with reference kernels on a 64-bit computer, without scratch; negative."""
    if kernels == REFERENCE:
        return 0
    saved = NARROW + NARROW_CONVOLUTION * convolutions + NARROW_ADDITION * additions
    return HANDLES + HANDLE * convolutions - saved


def instructions(kernels: str, macs: int, outputs: int, others: int) -> float:
    """Instructions of an image on a Cortex-M4F; additive.

    Args:
        kernels: one of `KERNELS`.
        macs: multiply-accumulates of all convolutions and of the head.
        outputs: numbers that the convolutions write.
        others: numbers that the other operators read, of an addition those of one side.

    >>> round(instructions("cmsis_nn", macs=4755456, outputs=12288, others=8192) / 1e6, 2)
    9.44
    """
    of_mac, of_output, of_other = INSTRUCTIONS[kernels]
    return of_mac * macs + of_output * outputs + of_other * others
