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

RUN = ["--dataset=digits", "--width=2", "--epochs=6", "--cycle_epochs=2", "--target_accuracy=0.99"]


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
def test_a_signal_keeps_what_was_trained_and_says_how_to_go_on(tmp_path, number, status):
    out = tmp_path / "my run"
    process = start(out, *RUN, "--epochs=200")
    wait_for(out, "checkpoint/epoch000002*", process)
    process.send_signal(number)
    ended, _, error = finish(process)
    assert ended == status
    assert error[-1].endswith(f"; to go on: python -m odn_keras.train --resume --out='{out}'")
    assert "Traceback" not in "\n".join(error)
    steps = [file.name for file in (out / "checkpoint").glob("epoch*.npz")]
    assert not any(name.startswith("epoch000000") for name in steps)


def test_kill_and_resume_ends_as_if_nothing_had_been(tmp_path):
    """A short `python -m benchmarks.crash_test`."""
    command = [sys.executable, "-m", "benchmarks.crash_test", "--kills=2", "--epochs=5"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=600).stdout
    assert printed.splitlines()[-1] == "2 kills, 0 lost, identical", printed


def test_a_second_process_on_the_folder_is_refused_and_what_is_finished_stays(tmp_path):
    out = tmp_path / "run"
    first = start(out, *RUN)
    wait_for(out, "checkpoint/epoch000000*", first)
    status, _, error = finish(start(out, "--resume"))
    assert status == 2 and error == [f"error: another process works in {out}: wait for it or choose another --out"]
    status, _, error = finish(start(out, *RUN, "--overwrite"))
    assert status == 2 and "another process" in error[0]
    assert finish(first)[0] == 3

    before = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    status, printed, _ = finish(start(out, "--resume"))
    assert status == 3 and "validation accuracy" in printed
    assert {file.name: file.stat().st_mtime_ns for file in out.iterdir()} == before


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(tmp_path):
    out = tmp_path / "run"
    process = start(out, *RUN, "--width=16")
    wait_for(out, "checkpoint/epoch000001*", process)
    files = {file: file.read_bytes() for file in (out / "checkpoint").glob("epoch*.npz")}
    # the size no file may pass: a checkpoint of one block fits, one of two no longer does
    limit = max(map(len, files.values())) + 10_000
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    status, _, error = finish(process)
    assert status == 2 and len(error) == 1, error
    assert error[0].startswith("error: ") and "large" in error[0]
    assert not list(out.rglob(".writing-*"))
    kept = sorted((out / "checkpoint").glob("epoch*.npz"))
    assert kept and kept[-1].stat().st_size > 0
    assert finish(start(out, "--resume"))[0] == 3


def test_a_read_only_folder_is_one_line(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    out.chmod(0o555)
    if os.access(out, os.W_OK):
        out = "/proc/odn_keras"  # root may write anywhere but there
    status, _, error = finish(start(out, *RUN))
    assert status == 2 and len(error) == 1 and error[0].startswith(f"error: cannot write to {out}")


def test_resume_changes_nothing_and_begins_nothing_by_accident(tmp_path):
    out = tmp_path / "run"
    status, _, error = finish(start(out, "--resume"))
    assert status == 2 and "no run to go on with" in error[0] and not out.exists()
    status, _, error = finish(start(out, "--resume", "--overwrite", *RUN))
    assert status == 2 and "one of them" in error[0]
    assert finish(start(out, "--resume", *RUN))[0] == 3
    status, printed, error = finish(start(out, "--resume", "--epochs=7"))
    assert status == 2 and "--epochs=6, not 7" in error[0] and not printed
    process = start(out, *RUN, "--overwrite", "--epochs=200")
    wait_for(out, "checkpoint/epoch000001*", process)
    process.kill()
    process.wait()
    status, _, error = finish(start(out, "--resume", "--width=4"))
    assert status == 2 and "--width=2, not 4" in error[0]
    status, _, error = finish(start(out, *RUN))
    assert status == 2 and "--overwrite" in error[0] and "--resume" in error[0]


DISTRIBUTED = [
    "--dataset=digits", "--width=4", "--epochs=6", "--cycle_epochs=1", "--target_accuracy=0.99",
    "--train_images=512", "--batch_size=64", "--max_depth=2",
]  # fmt: skip


def outcome(out):
    report = json.loads((out / "report.json").read_text())
    stages = [(stage["depth"], stage["phase"], stage["epochs"]) for stage in report["stages"]]
    weights = keras.saving.load_model(out / "model.keras").get_weights()
    return stages, weights, report["val_accuracy"]


def test_several_devices_and_several_processes_train_what_one_device_does(tmp_path):
    pytest.importorskip("jax")
    jax = {**os.environ, "KERAS_BACKEND": "jax"}
    one, four, two = (tmp_path / name for name in ("one", "four", "two"))
    assert finish(start(one, *DISTRIBUTED, env=jax))[0] == 3
    parallel = [*DISTRIBUTED, "--distribution=data_parallel"]
    devices = {**jax, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    assert finish(start(four, *parallel, env=devices))[0] == 3

    def pair(*arguments):
        """Two processes over loopback, the second told by environment variables; process 1 has a folder of its own."""
        address = f"127.0.0.1:{free_port()}"
        flags = [f"--coordinator={address}", "--num_processes=2", "--process_id=0"]
        variables = {"JOB_ADDRESSES": address, "NUM_PROCESSES": "2", "PROCESS_ID": "1"}
        second = {**jax, **{f"KERAS_DISTRIBUTION_{name}": value for name, value in variables.items()}}
        return start(two, *parallel, *flags, *arguments, env=jax), start(
            tmp_path / "none", *parallel, *arguments, env=second
        )

    processes = pair()
    wait_for(two, "checkpoint/epoch000002*", processes[0])
    for process in processes:
        process.kill()
        process.wait()
    assert [finish(process)[0] for process in pair("--resume")] == [3, 0]
    assert not (tmp_path / "none").exists()  # only process 0 writes

    stages, weights, accuracy = outcome(one)
    assert len({depth for depth, _, _ in stages}) > 1
    for out in (four, two):
        theirs = outcome(out)
        assert (theirs[0], theirs[2]) == (stages, pytest.approx(accuracy))
        for ours, others in zip(weights, theirs[1], strict=True):
            np.testing.assert_allclose(ours, others, atol=1e-5)


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_distribution_elsewhere_than_on_jax_is_refused(tmp_path):
    status, _, error = finish(
        start(tmp_path / "run", "--distribution=data_parallel", env={**os.environ, "KERAS_BACKEND": "tensorflow"})
    )
    assert status == 2 and error == [
        "error: data-parallel training needs JAX, the backend is tensorflow: set KERAS_BACKEND=jax"
    ]
    status, _, error = finish(start(tmp_path / "run", "--num_processes=2"))
    assert status == 2 and "--distribution" in error[0]
