"""Trainings in worker processes, each of whose outcome is kept in a file: what is cut off is resumed."""

import dataclasses
import functools
import json
import multiprocessing
import os
import pathlib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

from benchmarks.outcome import Outcome
from odn_keras.errors import InputError
from odn_keras.files import replacing
from odn_keras.runs.options import RunOptions


@dataclass
class Job:
    """One call of a function of `benchmarks.protocols`."""

    protocol: str
    seed: int
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its outcome's file: the protocol, its arguments and the seed."""
        arguments = [f"{name}={value}" for name, value in {**self.arguments, "seed": self.seed}.items()]
        return "-".join([self.protocol, *arguments])


class Jobs:
    """Runs jobs, each once ever.

    Args:
        folder: where the outcomes are kept.
        options: data and recipe, the same for all.
        max_depth: deepest network considered.
        workers: processes; they share the cores evenly.

    Raises:
        InputError: where the folder has outcomes of other options.
    """

    def __init__(self, folder: pathlib.Path, options: RunOptions, max_depth: int | None, workers: int):
        self.folder, self.options, self.max_depth, self.workers = folder, options, max_depth, workers
        folder.mkdir(parents=True, exist_ok=True)
        settings = json.dumps({**dataclasses.asdict(options), "max_depth": max_depth}, indent=2)
        noted = folder / "settings.json"
        if noted.exists() and noted.read_text() != settings:
            raise InputError(f"{folder} holds trainings of other options (see {noted}): give another --out")
        noted.write_text(settings)

    def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        """The outcomes of the jobs, in their order, those of earlier runs included."""
        jobs = list(jobs)
        wanted = {job.name: job for job in jobs}
        missing = [job for job in wanted.values() if not self._path(job).exists()]
        with self._pool(len(missing)) as pool:
            futures = {pool.submit(_train, job, self.options, self.max_depth, self._path(job)): job for job in missing}
            for number, future in enumerate(as_completed(futures), 1):
                outcome: Outcome = future.result()
                print(
                    f"{number}/{len(missing)} {futures[future].name}: depth {outcome.depth}, {outcome.epochs} epochs, "
                    f"{outcome.training_macs:.3g} MACs, {outcome.seconds:.0f} s, "
                    f"validation {outcome.val_accuracy:.4f}, test {outcome.test_accuracy:.4f}",
                    flush=True,
                )
        return [Outcome(**json.loads(self._path(job).read_text())) for job in jobs]

    def _path(self, job: Job) -> pathlib.Path:
        return self.folder / f"{job.name}.json"

    def _pool(self, jobs: int) -> ProcessPoolExecutor:
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ[variable] = str(threads)
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(max(1, min(self.workers, jobs)), mp_context=spawn)


@functools.cache
def _task(options: RunOptions, max_depth: int | None):
    from benchmarks.protocols import Task

    return Task.load(options, max_depth)


def _train(job: Job, options: RunOptions, max_depth: int | None, path: pathlib.Path) -> Outcome:
    from odn_keras import cli

    cli.import_keras()
    import keras

    from benchmarks import protocols

    outcome = getattr(protocols, job.protocol)(_task(options, max_depth), job.seed, **job.arguments)
    keras.backend.clear_session()
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(outcome), indent=1))
    return outcome
