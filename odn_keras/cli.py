"""What the commands share: bad input becomes one line and exit status 2."""

import os
import sys
from collections.abc import Callable

from absl import app, flags, logging

from odn_keras.errors import InputError
from odn_keras.quiet import quiet

BAD_INPUT = 2
INTERRUPTED = 130  # as a shell reports a program that SIGINT ended


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, runs `main` and exits with what it returns (nothing: 0)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # must be set before TensorFlow is imported
    logging.set_verbosity(logging.WARNING)

    def guarded(arguments):
        try:
            if len(arguments) > 1:
                raise InputError(f"unknown argument {arguments[1]!r}: options begin with --, see --help")
            return main()
        except InputError as error:
            return fail(str(error))
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            return INTERRUPTED
        except OSError as error:  # a full disk, a folder that must not be read or written
            return fail(f"{error.strerror or error}: {error.filename or ''}")

    app.run(guarded, flags_parser=_parse)


def import_backend() -> None:
    """Imports Keras and wakes its backend, without the greetings that TensorFlow prints on both occasions."""
    with quiet():
        import keras

        keras.ops.zeros(1)


def fail(message: str) -> int:
    """Prints the one line that says what is wrong; returns the exit status."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return BAD_INPUT


def _parse(arguments):
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(fail(str(error)))
    except OSError as error:  # a flagfile that cannot be read
        sys.exit(fail(f"{error.strerror}: {error.filename}"))
