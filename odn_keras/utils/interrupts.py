"""Handles Ctrl-C while a command is still being loaded; `odn_keras.cli` handles it from then on."""

import os
import signal
import sys


def end_with_a_word() -> None:
    """Makes SIGINT end this process with one line, unless the parent process ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number, frame):
    sys.stderr.write("\nstopped by SIGINT\n")
    sys.stderr.flush()
    os._exit(128 + number)
