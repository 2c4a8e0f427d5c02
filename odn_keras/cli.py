"""What the commands share: bad input becomes one line and exit status 2; a signal ends them with a word."""

import contextlib
import dataclasses
import os
import signal
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, get_args

from absl import app, flags, logging

from odn_keras import console
from odn_keras.errors import InputError
from odn_keras.options import FREE_TO_CHANGE, DataOptions, RunOptions
from odn_keras.quiet import command, quiet

BAD_INPUT = 2
OVER_BUDGET = 4
SIGNALLED = 128  # plus the signal's number, as a shell reports a program that a signal ended


_DEFINERS: dict[type, Any] = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
}


class Stopped(BaseException):
    """SIGINT or SIGTERM has come.

    Attributes:
        hint: what the user can do now.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number, self.hint = number, ""


def define_option_flags(options: type[DataOptions] = RunOptions, **defaults) -> None:
    """Defines a flag for every field of these options, with its default unless another is given."""
    for option in dataclasses.fields(options):
        kind = next(t for t in get_args(option.type) or (option.type,) if t is not types.NoneType)
        choices = option.metadata["choices"]
        text = option.metadata["help"] + (f" One of {', '.join(map(str, choices))}." if choices else "")
        _DEFINERS[kind](option.name, defaults.get(option.name, option.default), text)


def option_values(options: type[DataOptions] = RunOptions, *, given_only: bool = False) -> dict[str, Any]:
    """The values of those flags; with `given_only` of those that the user has set."""
    found = [flags.FLAGS[option.name] for option in dataclasses.fields(options)]
    return {flag.name: flag.value for flag in found if flag.present or not given_only}


def data_options(report: dict[str, Any]) -> DataOptions:
    """The dataset of a finished run, from its report.

    Raises:
        InputError: where the user gives another one, but for the same file elsewhere: images of the training must not
            become validation images.
    """
    stored = report["options"]
    ran_on = {field.name: stored.get(field.name, field.default) for field in dataclasses.fields(DataOptions)}
    given = option_values(DataOptions, given_only=True)
    for name, now in given.items():
        moved = name == "dataset" and os.path.exists(now) and os.path.basename(now) == os.path.basename(ran_on[name])
        if now != ran_on[name] and name not in FREE_TO_CHANGE and not moved:
            raise InputError(f"the run has --{name}={ran_on[name]}, not {now}: leave --{name} out")
    return DataOptions(**{**ran_on, **given})


def run(main: Callable[[], int | None], define_flags: Callable[[], None] = lambda: None) -> None:
    """Defines and parses the flags, runs `main` and exits with what it returns (nothing: 0)."""
    define_flags()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # must be set before TensorFlow is imported
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # likewise; by default only where there is AVX-512
    logging.set_verbosity(logging.WARNING)

    def guarded(arguments):
        try:
            if len(arguments) > 1:
                raise InputError(f"unknown argument {arguments[1]!r}: options begin with --, see --help")
            status = main()
            sys.stdout.flush()  # here, where it may fail
            return status
        except InputError as error:
            return fail(str(error))
        except Stopped as stopped:
            print(f"\nstopped by {signal.Signals(stopped.number).name}{stopped.hint}", file=sys.stderr)
            return SIGNALLED + stopped.number
        except BrokenPipeError:  # whoever read the output has gone: say no more, nor when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return SIGNALLED + signal.SIGPIPE
        except OSError as error:  # a full disk, a folder that must not be read or written
            return fail(f"{error.strerror or error}: {error.filename or ''}")

    console.never_fail()
    with _manners(), command():
        app.run(guarded, flags_parser=_parse)


@contextlib.contextmanager
def _manners():
    """Signals raise `Stopped`, but for those that whoever started us wants ignored; warnings are one line."""
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    handlers = {number: signal.signal(number, _stop) for number in numbers}
    formatting = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {' '.join(str(message).split())}\n"
    try:
        yield
    finally:
        warnings.formatwarning = formatting
        for number, handler in handlers.items():
            signal.signal(number, handler)


def import_keras() -> None:
    """Imports Keras without the greetings that TensorFlow prints then."""
    with quiet():
        import keras  # noqa: F401


def wake_backend() -> None:
    """Computes something, without the greetings that backends print the first time."""
    with quiet():
        import keras

        keras.ops.zeros(1)


def show_step(line: str) -> None:
    """Shows a step of what takes long: on a terminal in place of the one before."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line}", end="", flush=True)
    else:
        print(line, flush=True)


def fail(message: str) -> int:
    """Prints the one line that says what is wrong; returns the exit status."""
    print("error: " + console.printable(" ".join(message.split())), file=sys.stderr)
    return BAD_INPUT


def _stop(number, frame):
    raise Stopped(number)


def _parse(arguments):
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(fail(str(error)))
    except OSError as error:  # a flagfile that cannot be read
        sys.exit(fail(f"{error.strerror}: {error.filename}"))
