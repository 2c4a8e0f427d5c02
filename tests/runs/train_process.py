"""`python -m odn_keras.train` in a process of its own, for the tests of what happens to one."""

import signal
import subprocess
import sys
import time


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
