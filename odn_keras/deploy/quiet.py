"""Keeping the chatter of converters and runtimes away from the user's terminal."""

import contextlib
import io
import os
import sys
import tempfile
import warnings


@contextlib.contextmanager
def quiet():
    """Swallows what native code and Python print or warn in the block; shows it after all if the block fails."""
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
        except Exception:
            chatter.seek(0)
            os.write(saved[2], chatter.read() + printed.getvalue().encode())
            raise
        finally:
            for number, original in saved.items():
                os.dup2(original, number)
                os.close(original)
