"""Trains by progressive depth expansion and exports the network found.

    python -m odn_keras.train --dataset=mnist --target_accuracy=0.993 --out=runs/mnist
    python -m odn_keras.train --flagfile=flags/mnist.txt
    python -m odn_keras.train --resume --out=runs/mnist
    python -m odn_keras.train --dataset=mnist --device=nucleo_f446re
    python -m odn_keras.train --device=list
    python -m odn_keras.train --continue_from=runs/mnist --epochs=9 --out=runs/more

Exit status: 0 target met, or none given with --depth, 3 target not met (the best network is exported nevertheless), 4
the exported file, its arena or its predicted time exceeds a limit of the device or of the --max_ options (whether the
target was met or not), 2 bad input, 130 and 143 stopped by SIGINT and SIGTERM (--resume resumes the run).
"""

import atexit
import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.runs.finished_run import finished_report
from odn_keras.runs.options import RunOptions
from odn_keras.runs.run_files import RUN_FILES, SUPERNET
from odn_keras.runs.run_folder import RunFolder
from odn_keras.runs.run_record import options_of

TARGET_NOT_MET = 3


def define_flags() -> None:
    """Defines the flags of the command."""
    cli.define_option_flags()
    cli.define_path("out", None, "The run's folder; default: runs/ and the dataset's name.")
    flags.DEFINE_boolean("overwrite", False, "Replace the run that --out holds.")
    flags.DEFINE_boolean(
        "resume",
        False,
        "Resume the run that --out holds, with its options, from its last checkpoint. If there is none, begin the run "
        "that the other options describe.",
    )
    flags.DEFINE_boolean("tensorboard", False, "Write metrics for TensorBoard into tensorboard/ of the run's folder.")
    flags.DEFINE_enum(
        "distribution", None, ["data_parallel"], "Train on all devices of this or of several processes (JAX only)."
    )
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, where there are several; as in Keras.")
    flags.DEFINE_integer("num_processes", None, "How many processes there are.")
    flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")


def main() -> int:
    """Trains, or resumes a run; returns the exit status."""
    values = flags.FLAGS
    if cli.lists_devices():
        return 0
    options, out = _options_and_folder()
    several = {name: values[name].value for name in ("coordinator", "num_processes", "process_id")}
    if not values.distribution and any(value is not None for value in several.values()):
        raise InputError("--coordinator, --num_processes and --process_id need --distribution=data_parallel")

    if not values.resume and not values.continue_from and not values["dataset"].present:
        print("no --dataset is given: training on the 1,797 digits that come with scikit-learn", flush=True)
    cli.import_keras()  # heavy: only once the flags are known to be good
    from odn_keras.growing import distribution
    from odn_keras.runs.run import run

    if values.distribution:
        distribution.start(**several)
    cli.wake_backend()
    with _saying_how_to_resume(RunFolder(out)):
        result = run(options, out, overwrite=values.overwrite, resume=values.resume, tensorboard=values.tensorboard)
    if result is None:  # another process than the chief
        return 0
    _show(result, out)
    if result.get("budget") and result["budget"]["exceeded"]:
        return cli.OVER_BUDGET
    return 0 if result["target_met"] is not False else TARGET_NOT_MET


@contextlib.contextmanager
def _saying_how_to_resume(folder: RunFolder) -> Iterator[None]:
    """Context manager: adds, to whatever interrupts a run, the command that resumes it."""
    from odn_keras.growing import distribution

    try:
        yield
    except BaseException as error:
        if distribution.current().processes > 1:
            atexit.register(distribution.leave, cli.status_of(error))
        if isinstance(error, cli.Stopped) and folder.unfinished:
            error.hint = f"; to resume: {folder.how_to_resume}"
        if isinstance(error, OSError) and folder.unfinished and (line := cli.explain(error)):
            raise InputError(f"{line}; once that is mended, to resume: {folder.how_to_resume}") from error
        raise


def _show(result: dict[str, Any], out: pathlib.Path) -> None:
    """Prints what the run has found, why it ended, and the commands that come next."""
    from odn_keras.runs import verdict
    from odn_keras.runs.report import summary

    print(f"\n{summary.table(result)}\n")
    for name in (*RUN_FILES, SUPERNET):
        if (out / name).exists():
            print(f"  {out / name}")
    for line in (*verdict.describe_ending(result), *verdict.warn_of_continued(result), *verdict.warn_of_int8(result)):
        print(f"\n{line}")
    print("\nnext:")
    for command in verdict.next_commands(result, str(out)):
        print(f"  {command}")


def _options_and_folder() -> tuple[RunOptions, pathlib.Path]:
    """The options and the folder of the run; with --resume the given options replace those of the run."""
    values = flags.FLAGS
    given = cli.option_values(given_only=True)
    if not values.resume:
        options = RunOptions(**_with_earlier(given))
        name = pathlib.Path(options.dataset)
        default = pathlib.Path("runs", (name.resolve() if name.exists() else name).stem or "run")
        return options, pathlib.Path(values.out or default)
    if not values.out:
        raise InputError("--resume needs --out, the folder of the run to resume")
    folder = RunFolder(pathlib.Path(values.out))
    if before := folder.options():
        return dataclasses.replace(before, **given), folder.path
    if not given:
        raise InputError(f"there is no run to resume in {folder.path}: to begin one, give its options")
    return RunOptions(**_with_earlier(given)), folder.path


def _with_earlier(given: dict[str, Any]) -> dict[str, Any]:
    """The options given and, with --continue_from, those of that run besides."""
    if not given.get("continue_from"):
        return given
    run = pathlib.Path(given["continue_from"])
    report = finished_report(run)
    earlier = dataclasses.asdict(options_of(report["options"], run))
    if report.get("dataset_path"):  # the working folder may be another one now
        earlier["dataset"] = report["dataset_path"]
    if given.get("depth") is not None:  # what that run searched for does not concern a given depth
        earlier |= dict.fromkeys(("target_accuracy", "max_depth", "cycle_epochs"))
    return {**earlier, "start_from": None, **given}  # what that run started from is in its network


if __name__ == "__main__":
    cli.run(main, define_flags)
