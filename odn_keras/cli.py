"""What the commands share: flags, error messages in one line, exit statuses, signals."""

import contextlib
import dataclasses
import errno
import functools
import inspect
import os
import pathlib
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from absl import app, flags, logging

from odn_keras.devices import boards
from odn_keras.devices.boards import Wanted
from odn_keras.errors import BAD_INPUT, InputError
from odn_keras.quiet import command, quiet
from odn_keras.runs import run_data
from odn_keras.runs.full_disk import DISK_FULL
from odn_keras.runs.options import GROUPS, PATHS, DataOptions, RunOptions, kind_of
from odn_keras.utils import console, help_pages, keras_config

OVER_BUDGET = 4
SIGNALLED = 128  # plus the signal's number, as a shell reports a program that a signal ended

# Errors that a disk, folder or file of the user may cause. Any other error of the system is a bug.
_USERS = (
    *DISK_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
    errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE,
)  # fmt: skip

_DEFINERS: dict[type, Any] = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
}


_VALUES = {"int": "N", "float": "X", "path": "PATH", "string enum": "NAME", "comma separated list of strings": "A,B"}


class Stopped(BaseException):
    """Raised by SIGINT and SIGTERM.

    Attributes:
        hint: what the user can do next.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number, self.hint = number, ""


class _Path(flags.ArgumentParser):
    """A path in which ~ is the home folder: a shell does not expand it behind `--out=`, nor in a flagfile."""

    def parse(self, argument):
        return os.path.expanduser(argument)

    def flag_type(self):
        return "path"


def define_path(name: str, default: str | None, text: str) -> None:
    """Defines a flag for a path."""
    flags.DEFINE(_Path(), name, default, text, serializer=flags.ArgumentSerializer())


def define_option_flags(options: type[DataOptions] = RunOptions, **defaults) -> None:
    """Defines a flag for every field of these options, with its own default unless another is given."""
    for option in dataclasses.fields(options):
        define_option(option, defaults.get(option.name, option.default))


def define_device_flags() -> None:
    """Defines the flags of a device, without its limits, for commands that have not the options of a run."""
    for option in dataclasses.fields(RunOptions):
        if option.name in ("device", "device_file", "reserved_flash", "reserved_ram", "kernels"):
            define_option(option)


def define_option(option: dataclasses.Field, default: Any = None) -> None:
    """Defines the flag of an option."""
    choices = option.metadata["choices"]
    text = option.metadata["help"] + (f" One of {', '.join(map(str, choices))}." if choices else "")
    define = define_path if option.name in PATHS else _DEFINERS[kind_of(option)]
    define(option.name, default, text)


def wanted_device() -> Wanted:
    """What the flags say of a device and its limits."""
    names = (field.name for field in dataclasses.fields(Wanted) if field.name in flags.FLAGS)
    return Wanted(**{name: flags.FLAGS[name].value for name in names})


def lists_devices() -> bool:
    """True where --device=list asks for the devices, which are printed."""
    if flags.FLAGS.device != boards.LIST:
        return False
    print(boards.table(boards.boards(flags.FLAGS.device_file)))
    return True


def option_values(options: type[DataOptions] = RunOptions, *, given_only: bool = False) -> dict[str, Any]:
    """The values of these flags; with `given_only` only those that the user has set."""
    found = [flags.FLAGS[option.name] for option in dataclasses.fields(options)]
    return {flag.name: flag.value for flag in found if flag.present or not given_only}


def data_options(run: dict[str, Any]) -> DataOptions:
    """The data of a run, from its report and the flags that say where they are now: see `odn_keras.runs.run_data`."""
    return run_data.data_options(run, option_values(DataOptions, given_only=True))


def run(main: Callable[..., int | None], define_flags: Callable[[], None] = lambda: None) -> None:
    """Defines and parses the flags, runs `main` and exits with what it returns (nothing: 0).

    A `main` with a parameter gets the arguments that are no flags; with any other there must be none.
    """
    define_flags()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # must be set before TensorFlow is imported
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the same; on by default only with AVX-512
    logging.set_verbosity(logging.WARNING)

    def guarded(arguments):
        try:
            takes_arguments = bool(inspect.signature(main).parameters)
            if len(arguments) > 1 and not takes_arguments:
                raise InputError(f"unknown argument {arguments[1]!r}: options begin with --, see --help")
            status = main(arguments[1:]) if takes_arguments else main()
            sys.stdout.flush()  # here, where it may fail
            return status
        except InputError as error:
            return fail(str(error))
        except Stopped as stopped:
            print(f"\nstopped by {signal.Signals(stopped.number).name}{stopped.hint}", file=sys.stderr)
            return SIGNALLED + stopped.number
        except BrokenPipeError:  # the reader of the output has gone: print nothing more, not even when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return SIGNALLED + signal.SIGPIPE
        except OSError as error:
            if line := explain(error):
                return fail(line)
            raise

    console.never_fail()
    with _manners(), command():
        app.run(guarded, flags_parser=functools.partial(_parse, sys.modules[main.__module__]))


@contextlib.contextmanager
def _manners():
    """Context manager: signals raise `Stopped` unless the parent process ignores them; warnings are one line."""
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
    """Imports Keras, without the messages that TensorFlow prints on import.

    Raises:
        InputError: where the configuration of Keras allows no training or export.
    """
    if "keras" not in sys.modules:
        keras_config.check_before_import()
    with quiet():
        import keras  # noqa: F401
    keras_config.check()


def wake_backend() -> None:
    """Computes something, so that the messages of a backend's first use are not printed later."""
    with quiet():
        import keras

        keras.ops.zeros(1)


def show_step(line: str) -> None:
    """Prints a step of a long computation: on a terminal in place of the step before."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line}", end="", flush=True)
    else:
        print(line, flush=True)


def show_files(folder: pathlib.Path) -> None:
    """Lists the files that a command has written, except hidden ones, which exist only while it runs."""
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("."):
            print(f"  {path}")


def explain(error: OSError) -> str | None:
    """The message for an error that a disk, folder or file of the user causes; `None` for any other error, a bug."""
    if error.errno not in _USERS or (error.filename is None and error.errno not in DISK_FULL):
        return None
    return f"{error.strerror}: {error.filename}" if error.filename is not None else error.strerror


def status_of(error: BaseException) -> int:
    """The exit status of a command that ends with this error."""
    if isinstance(error, Stopped):
        return SIGNALLED + error.number
    explained = isinstance(error, InputError) or (isinstance(error, OSError) and explain(error))
    return BAD_INPUT if explained else 1


def fail(message: str) -> int:
    """Prints an error message in one line; returns the exit status."""
    print("error: " + console.printable(" ".join(message.split())), file=sys.stderr)
    return BAD_INPUT


def _stop(number, frame):
    raise Stopped(number)


def _parse(module, arguments):
    try:
        program, *rest = arguments
        for argument in rest:
            name, _, topic = argument.partition("=")
            if name in ("--help", "-help", "-h"):
                print(_help(module, topic))
                sys.exit()
        return flags.FLAGS([program, *_with_flagfiles(rest)])
    except (flags.Error, InputError) as error:
        sys.exit(fail(str(error)))


def _help(module, topic: str) -> str:
    """What `--help` prints of the command in this module."""
    name = pathlib.Path(module.__file__).stem
    shown = {}
    own = flags.FLAGS.get_key_flags_for_module(module.__name__)
    for flag in (*own, *flags.FLAGS.get_flags_for_module(__name__)):
        value = "" if flag.boolean else _VALUES.get(flag.flag_type(), "TEXT")
        default = None
        if flag.default or isinstance(flag.default, float):
            default = ",".join(flag.default) if isinstance(flag.default, list) else str(flag.default)
        text = flag.help or ""
        if isinstance(flag, flags.EnumFlag):  # in whose help absl has put them first
            text = f"{text.partition('>: ')[2]} One of {', '.join(flag.parser.enum_values)}."
        shown[flag.name] = help_pages.Flag(flag.name, value, text, default)
    try:
        return help_pages.help_text(module.__doc__ or "", name, GROUPS, shown, topic)
    except KeyError:
        choices = ", ".join(help_pages.topics(name, GROUPS, shown))
        raise InputError(f"there is no help on {topic!r}: choose one of {choices}") from None


def _with_flagfiles(arguments: list[str], within: tuple[str, ...] = ()) -> Iterator[str]:
    """The arguments, with the lines of the file in place of each --flagfile.

    absl does the same but prints messages of its own.
    """
    rest = iter(arguments)
    for argument in rest:
        name, separator, path = argument.partition("=")
        if name == "--":
            yield argument
            yield from rest
        elif name.strip() not in ("--flagfile", "-flagfile"):
            yield argument
        elif path := os.path.expanduser((path if separator else next(rest, "")).strip()):
            if path in within:
                raise InputError(f"the flagfile {path} includes itself")
            try:
                lines = pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines()
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
                raise InputError(f"cannot read the flagfile {path} ({reason})") from error
            stripped = [line.strip() for line in lines]
            given = [line for line in stripped if line and not line.startswith(("#", "//"))]
            yield from _with_flagfiles(given, (*within, path))
        else:
            raise InputError("--flagfile needs the path of a file")
