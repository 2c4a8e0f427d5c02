"""What Ctrl-C does while a command is still being loaded: `odn_keras.cli` takes over from there."""

import os
import signal
import sys


def end_with_a_word() -> None:
    """Lets SIGINT end this process in one line, unless whoever started it wants it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number, frame):
    sys.stderr.write("\nstopped by SIGINT\n")
    sys.stderr.flush()
    os._exit(128 + number)
