import os
import subprocess
import sys
import threading
import time
import warnings

import pytest

from odn_keras.quiet import command, quiet, quiet_in_commands


def test_chatter_is_swallowed_at_every_level(capfd):
    with quiet():
        print("python")
        os.write(2, b"native")
        warnings.warn("warning", stacklevel=1)
    print("after")
    assert capfd.readouterr() == ("after\n", "")


def test_chatter_is_shown_if_the_block_fails(capfd):
    with pytest.raises(RuntimeError), quiet():
        os.write(1, b"the reason")
        raise RuntimeError
    assert "the reason" in capfd.readouterr().err


def test_blocks_of_many_threads_leave_the_output_as_it_was(capfd):
    before = len(os.listdir("/proc/self/fd"))

    def work(pause):
        for _ in range(20):
            with quiet():
                print("python")
                os.write(2, b"native")
                time.sleep(pause)
                with quiet():
                    os.write(1, b"nested")

    threads = [threading.Thread(target=work, args=(number / 5000,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("after")
    os.write(1, b"native after\n")
    assert capfd.readouterr() == ("after\nnative after\n", "")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_block_that_fails_shows_its_own_output_only(capfd):
    with quiet():
        os.write(2, b"of the outer block")
        with pytest.raises(RuntimeError), quiet():
            os.write(2, b"the reason")
            raise RuntimeError
    assert capfd.readouterr() == ("", "the reason")


def test_only_in_commands_the_output_is_ours(capfd):
    with quiet_in_commands():
        os.write(1, b"of a server\n")
    with command(), quiet_in_commands():
        os.write(1, b"of a command\n")
    assert capfd.readouterr().out == "of a server\n"


def test_a_process_without_stdout_and_stderr_can_be_quiet():
    code = "from odn_keras.quiet import quiet\nwith quiet(): print()"
    closed = ["sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, code]
    assert subprocess.run(closed, check=False).returncode == 0
