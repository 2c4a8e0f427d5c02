"""Keeping the chatter of converters and runtimes away from the user's terminal."""

import contextlib
import io
import os
import sys
import tempfile
import warnings

from odn_keras.errors import InputError


@contextlib.contextmanager
def quiet(show_on_failure: bool = True):
    """Swallows what native code and Python print or warn in the block; by default shows it if the block fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    printed = io.StringIO()
    with tempfile.TemporaryFile() as chatter, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for number in saved:
                os.dup2(chatter.fileno(), number)
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                yield
        except Exception as error:
            chatter.seek(0)
            if show_on_failure and not isinstance(error, InputError):
                os.write(saved[2], chatter.read() + printed.getvalue().encode())
            raise
        finally:
            for number, original in saved.items():
                os.dup2(original, number)
                os.close(original)
