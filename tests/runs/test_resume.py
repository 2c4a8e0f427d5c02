"""The command under crashes, signals, full disks and company: each in a process of its own, as it happens to a user."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from benchmarks import crash_test
from odn_keras import train

RUN = ["--dataset=digits", "--width=2", "--epochs=4", "--cycle_epochs=2", "--max_depth=2", "--target_accuracy=0.99"]


def start(out, *arguments, **options):
    command = [sys.executable, "-m", "odn_keras.train", f"--out={out}", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts, **options
    )


def heed_interrupts():
    """What is started in the background, as these tests may be, has SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process):
    printed, error = process.communicate(timeout=300)
    return process.returncode, printed, error.strip().splitlines()


def wait_for(path, pattern, process):
    while not list(path.glob(pattern)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_was_trained_and_says_how_to_resume(tmp_path, number, status):
    out = tmp_path / "my run"
    process = start(out, *RUN, "--epochs=200")
    wait_for(out, "checkpoint/epoch000002*", process)
    process.send_signal(number)
    ended, _, error = finish(process)
    assert ended == status
    assert error[-1].endswith(f"; to resume: python -m odn_keras.train --resume --out='{out}'")
    assert "Traceback" not in "\n".join(error)
    steps = [file.name for file in (out / "checkpoint").glob("epoch*.npz")]
    assert not any(name.startswith("epoch000000") for name in steps)


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_kill_and_resume_ends_as_if_nothing_had_been(run_command, kills):
    """A short `python -m benchmarks.crash_test`."""
    status, printed, _ = run_command(crash_test, f"--kills={kills}", "--epochs=3")
    assert status == 0 and printed.splitlines()[-1] == f"{kills} kills, 0 lost, identical", printed


def test_a_second_process_on_the_folder_is_refused_and_what_is_finished_stays(tmp_path, run_command):
    out = tmp_path / "run"
    first = start(out, *RUN)
    wait_for(out, "checkpoint/epoch000000*", first)
    status, _, error = run_command(train, f"--out={out}", "--resume")
    assert status == 2 and error == f"error: another process works in {out}: wait for it or choose another --out\n"
    status, _, error = run_command(train, f"--out={out}", *RUN, "--overwrite")
    assert status == 2 and "another process" in error
    assert first.poll() is None
    assert finish(first)[0] == 3

    before = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    status, printed, error = run_command(train, f"--out={out}", "--resume", "--epochs=5")
    assert status == 2 and "--epochs=4, not 5" in error and not printed
    status, printed, _ = run_command(train, f"--out={out}", "--resume")
    assert status == 3 and "validation accuracy" in printed
    assert {file.name: file.stat().st_mtime_ns for file in out.iterdir()} == before


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(tmp_path, run_command):
    out = tmp_path / "run"
    process = start(out, *RUN, "--width=16")
    wait_for(out, "checkpoint/epoch000001*", process)
    files = {file: file.read_bytes() for file in (out / "checkpoint").glob("epoch*.npz")}
    # the size no file may pass: a checkpoint of one block fits, one of two no longer does
    limit = max(map(len, files.values())) + 10_000
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    status, _, error = finish(process)
    assert status == 2 and len(error) == 1, error
    assert error[0].startswith(f"error: File too large: {out}")
    assert error[0].endswith(f"to resume: python -m odn_keras.train --resume --out={out}")
    assert not list(out.rglob(".writing-*"))
    kept = sorted((out / "checkpoint").glob("epoch*.npz"))
    assert kept and kept[-1].stat().st_size > 0
    assert run_command(train, f"--out={out}", "--resume")[0] == 3


def test_a_read_only_folder_is_one_line(tmp_path, run_command):
    out = tmp_path / "run"
    out.mkdir()
    out.chmod(0o555)
    if os.access(out, os.W_OK):
        out = "/proc/odn_keras"  # root may write anywhere but there
    status, _, error = run_command(train, f"--out={out}", *RUN)
    assert status == 2 and error.count("\n") == 1 and error.startswith(f"error: cannot write to {out}")


def test_resume_changes_nothing_and_begins_nothing_by_accident(tmp_path, run_command):
    out = tmp_path / "run"

    def refused(*arguments):
        status, printed, error = run_command(train, f"--out={out}", *arguments)
        assert status == 2 and not printed and len(error.splitlines()) == 1
        return error

    assert "no run to resume" in refused("--resume") and not out.exists()
    assert "one of them" in refused("--resume", "--overwrite", *RUN)
    process = start(out, "--resume", *RUN, "--epochs=200")
    wait_for(out, "checkpoint/epoch000001*", process)
    assert process.poll() is None
    process.kill()
    process.wait()
    assert "--width=2, not 4" in refused("--resume", "--width=4")
    error = refused(*RUN)
    assert "--overwrite" in error and "--resume" in error


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
