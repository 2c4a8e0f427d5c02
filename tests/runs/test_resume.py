"""The command under crashes, signals, full disks and company: in a process of its own, as it happens to a user."""

import os
import resource
import signal

import pytest
from train_process import finish, start, wait_for

from benchmarks import crash_test
from odn_keras import train

RUN = ["--dataset=digits", "--width=2", "--epochs=4", "--cycle_epochs=2", "--max_depth=2", "--target_accuracy=0.99"]


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
