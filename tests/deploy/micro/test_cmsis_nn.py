"""The arenas of shipped models under CMSIS-NN, as TFLite Micro on an emulated Cortex-M4F reported them."""

import pathlib

import pytest

from odn_keras import NetworkSpec, footprint
from odn_keras.deploy.micro.cmsis_nn import arena_with_cmsis_nn
from odn_keras.deploy.micro.instructions import instructions_of
from odn_keras.deploy.tflite_file.flatbuffer import without_plan
from odn_keras.networks.kernels import KERNELS

pytest.importorskip("ai_edge_litert")

MODELS = pathlib.Path(__file__).parents[3] / "tflite_models"
# Of each model: kArenaBytes as measured on a computer; used with reference and with CMSIS-NN kernels on the board.
MEASURED = {
    "digits": (16_160, 15_124, 17_476),
    "mnist_64kb_pruned": (42_368, 41_124, 41_188),
    "mnist_64kb": (43_168, 41_924, 44_292),
    "fashion_mnist_width16": (42_912, 41_364, 42_004),
    "mnist": (156_064, 154_820, 157_188),
}
SPECS = {
    "digits": (NetworkSpec("resnet18", (8, 8, 1), 10), 1),
    "mnist_64kb": (NetworkSpec("resnet18", (28, 28, 1), 10, stem_stride=2), 2),
    "fashion_mnist_width16": (NetworkSpec("resnet18", (28, 28, 1), 10, width=16), 3),
    "mnist": (NetworkSpec("resnet18", (28, 28, 1), 10), 2),
}


@pytest.mark.parametrize("name", MEASURED)
def test_a_files_arena_is_within_two_percent_of_the_real_one_and_never_below(name):
    on_computer, _, used = MEASURED[name]
    assert used <= arena_with_cmsis_nn(MODELS / f"{name}.tflite", on_computer) <= 1.02 * used


@pytest.mark.parametrize("name", SPECS)
def test_so_is_that_of_a_network_that_is_not_built_yet(name):
    on_computer, portable, used = MEASURED[name]
    assert used <= footprint.arena_bytes(*SPECS[name], kernels="cmsis_nn") <= 1.02 * used
    assert portable <= footprint.arena_bytes(*SPECS[name])
    assert footprint.arena_bytes(*SPECS[name]) == pytest.approx(on_computer, rel=0.02)


def test_without_a_memory_plan_all_scratch_lies_behind_the_activations(tmp_path):
    file = tmp_path / "unplanned.tflite"
    file.write_bytes(without_plan((MODELS / "mnist_64kb_pruned.tflite").read_bytes()))
    planned = arena_with_cmsis_nn(MODELS / "mnist_64kb_pruned.tflite", 50_000)
    assert arena_with_cmsis_nn(file, 50_000) > planned


# Millions of instructions of an image, with reference and with CMSIS-NN kernels, in the same emulator.
INSTRUCTIONS = {
    "digits": (30.1, 9.47),
    "mnist_64kb_pruned": (58.3, 17.4),
    "mnist_64kb": (190, 55.4),
    "fashion_mnist_width16": (96.5, 27.2),
    "mnist": (794, None),
}


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_instructions_are_predicted_from_the_operators_of_a_file(name):
    portable, fast = INSTRUCTIONS[name]
    file = MODELS / f"{name}.tflite"
    assert instructions_of(file, "reference") / 1e6 == pytest.approx(portable, rel=0.063)
    if fast:
        assert instructions_of(file, "cmsis_nn") / 1e6 == pytest.approx(fast, rel=0.005)


@pytest.mark.parametrize("name", SPECS)
def test_and_from_those_of_a_network_that_is_not_built_yet(name):
    for kernels in KERNELS:
        predicted = footprint.of_spec(*SPECS[name], kernels).instructions
        assert predicted == pytest.approx(instructions_of(MODELS / f"{name}.tflite", kernels), rel=1e-6)
