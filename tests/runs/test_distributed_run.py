"""Runs on several devices and in several processes."""

import json
import os

import keras
import numpy as np
import pytest
from train_process import finish, start, wait_for

from odn_keras import train

DISTRIBUTED = [
    "--dataset=digits", "--width=4", "--epochs=2", "--cycle_epochs=1", "--target_accuracy=0.99",
    "--train_images=512", "--batch_size=64", "--max_depth=2",
]  # fmt: skip


def outcome(out):
    report = json.loads((out / "report.json").read_text())
    stages = [(stage["depth"], stage["phase"], stage["epochs"]) for stage in report["stages"]]
    weights = keras.saving.load_model(out / "model.keras").get_weights()
    return stages, weights, report["val_accuracy"]


@pytest.fixture(scope="module")
def jax_alone(tmp_path_factory):
    """JAX's environment, and what a run on one device comes to there."""
    pytest.importorskip("jax")
    jax = {**os.environ, "KERAS_BACKEND": "jax"}
    out = tmp_path_factory.mktemp("alone") / "run"
    assert finish(start(out, *DISTRIBUTED, env=jax))[0] == 3
    found = outcome(out)
    assert len({depth for depth, _, _ in found[0]}) > 1
    return jax, found


def assert_same_training(out, alone):
    (stages, weights, accuracy), (expected_stages, expected_weights, expected_accuracy) = outcome(out), alone
    assert (stages, accuracy) == (expected_stages, pytest.approx(expected_accuracy))
    for ours, theirs in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_several_devices_train_what_one_does(tmp_path, jax_alone):
    jax, alone = jax_alone
    devices = {**jax, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    assert finish(start(tmp_path / "run", *DISTRIBUTED, "--distribution=data_parallel", env=devices))[0] == 3
    assert_same_training(tmp_path / "run", alone)


@pytest.mark.slow
def test_several_processes_train_what_one_does_and_resume(tmp_path, jax_alone):
    jax, alone = jax_alone
    out, none = tmp_path / "run", tmp_path / "none"

    def pair(*arguments):
        """Two processes over loopback, the second set up by environment variables, with a folder of its own."""
        address = f"127.0.0.1:{free_port()}"
        parallel = [*DISTRIBUTED, "--distribution=data_parallel", *arguments]
        flags = [f"--coordinator={address}", "--num_processes=2", "--process_id=0"]
        variables = {"JOB_ADDRESSES": address, "NUM_PROCESSES": "2", "PROCESS_ID": "1"}
        second = {**jax, **{f"KERAS_DISTRIBUTION_{name}": value for name, value in variables.items()}}
        return start(out, *parallel, *flags, env=jax), start(none, *parallel, env=second)

    processes = pair()
    wait_for(out, "checkpoint/epoch000001*", processes[0])
    for process in processes:
        process.kill()
        process.wait()
    assert [finish(process)[0] for process in pair("--resume")] == [3, 0]
    assert not none.exists()  # only process 0 writes
    assert_same_training(out, alone)


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_distribution_elsewhere_than_on_jax_is_refused(tmp_path, run_command):
    status, _, error = run_command(train, f"--out={tmp_path / 'run'}", "--distribution=data_parallel")
    assert status == 2
    assert error == "error: data-parallel training needs JAX, the backend is tensorflow: set KERAS_BACKEND=jax\n"
    status, _, error = run_command(train, f"--out={tmp_path / 'run'}", "--num_processes=2")
    assert status == 2 and "--distribution" in error
