"""What does growing add to plain training? Steps per second, wall time of an epoch, memory, and the frozen prefix.

    python -m benchmarks.throughput --dataset=mnist --width=64 --depth=2
    python -m benchmarks.throughput --dataset=mnist --width=16 --depth=3

Printed, each as ours by plain `keras.Model.fit` of the same network on the same batches, medians over rounds in turns:

    step          seconds of a training step
    epoch         wall time of an epoch with its validation: what averaging, judging and keeping add
    memory        highest resident memory of a process that trains, ours having grown from depth 1 before

and, of a network with all but its newest block frozen by the same network with nothing frozen, MACs and seconds of a
training step.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

from absl import flags

from odn_keras import cli
from odn_keras.runs.options import RunOptions

cli.define_option_flags(dataset="mnist", train_images=5_000, validation_images=1_000)
flags.DEFINE_integer("depth", 2, "Residual blocks.", lower_bound=2)
flags.DEFINE_integer("rounds", 5, "Epochs of each.", lower_bound=1)
flags.DEFINE_enum("memory_of", None, ["grown", "plain"], "Only train one so, and print its highest memory in MB.")

FIRST_STEPS = 3  # of a fit, in which it is traced


class Setting:
    """Data, network and recipe, the same for both."""

    def __init__(self):
        cli.import_keras()
        import keras

        from benchmarks.protocols import Task

        self.task, self.depth = Task.load(RunOptions(**cli.option_values())), flags.FLAGS.depth

        class Steps(keras.callbacks.Callback):
            """Seconds of every training step but the first of a fit."""

            def __init__(self):
                super().__init__()
                self.seconds: list[float] = []

            def on_train_batch_begin(self, batch, logs=None):
                self._began = time.perf_counter()

            def on_train_batch_end(self, batch, logs=None):
                if batch >= FIRST_STEPS:
                    self.seconds.append(time.perf_counter() - self._began)

        class Epochs(keras.callbacks.Callback):
            """Seconds of every epoch but the first, from the end of the one before to its own."""

            def __init__(self):
                super().__init__()
                self.seconds: list[float] = []
                self._ended: float | None = None

            def on_epoch_end(self, epoch, logs=None):
                now = time.perf_counter()
                if self._ended is not None:
                    self.seconds.append(now - self._ended)
                self._ended = now

        self.Steps, self.Epochs = Steps, Epochs

    def fit_plain(self, epochs: int, *callbacks) -> None:
        """The same network, as `keras.Model.fit` trains it."""
        network, batches, validation = self.task.network(self.depth), self.task.batches(0), self.task.validation
        network.fit(batches, epochs=epochs, validation_data=validation, callbacks=[*callbacks], verbose=0)

    def fit_growing(self, epochs: int, *callbacks, depth: int | None = None, cycle_epochs: int | None = None) -> None:
        """From `depth` to the setting's depth, with checkpoints, as the command trains."""
        from odn_keras import Checkpoint, DepthGrowth

        model = self.task.model(depth or self.depth)
        growth = DepthGrowth(1.0, max_depth=self.depth, cycle_epochs=cycle_epochs or epochs, slack=0, verbose=0)
        batches, validation = self.task.batches(0), self.task.validation
        with tempfile.TemporaryDirectory() as folder:
            ours = [growth, Checkpoint(folder)]
            model.fit(batches, epochs=epochs, validation_data=validation, callbacks=[*ours, *callbacks], verbose=0)


def in_turns(ways: Mapping[str, Callable[[], list[float]]], rounds: int) -> dict[str, float]:
    """The median of what each way measures, over rounds in which each is done once."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            found[name] += measure()
    return {name: statistics.median(values) for name, values in found.items()}


def frozen_prefix(setting: Setting) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds and MACs of a training step with and without a frozen prefix."""
    from odn_keras.networks import cost

    depth = setting.depth
    networks = {"frozen": setting.task.network(depth, frozen=depth - 1), "thawed": setting.task.network(depth)}

    def steps(network) -> list[float]:
        recorded = setting.Steps()
        network.fit(setting.task.batches(0), callbacks=[recorded], verbose=0)
        return recorded.seconds

    ways = {name: (lambda network=network: steps(network)) for name, network in networks.items()}
    return in_turns(ways, flags.FLAGS.rounds), {name: cost.training_macs(each) for name, each in networks.items()}


def peak_megabytes(way: str) -> float:
    command = [sys.executable, "-m", "benchmarks.throughput", *sys.argv[1:], f"--memory_of={way}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    values = flags.FLAGS
    if not values.memory_of:  # first of all, because a process begins with the highest memory of the one that starts it
        memory = [peak_megabytes(way) for way in ("grown", "plain")]
    setting = Setting()
    if values.memory_of:
        if values.memory_of == "grown":
            # an epoch at each depth; what is left trains the best one on
            setting.fit_growing(2 * setting.depth - 1, depth=1, cycle_epochs=1)
        else:
            setting.fit_plain(2 * setting.depth - 1)
        print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
        return

    def steps(fit) -> list[float]:
        recorded = setting.Steps()
        fit(1, recorded)
        return recorded.seconds

    def epochs(fit) -> list[float]:
        recorded = setting.Epochs()
        fit(2, recorded)
        return recorded.seconds

    options = setting.task.options
    print(
        f"{options.dataset}, {options.backbone} of width {options.width}, depth {setting.depth}, "
        f"{setting.task.precision}, {len(setting.task.dataset.train[0])} images"
    )
    print(f"{'':<16}{'ours':>12}{'plain':>12}{'ratio':>8}")
    ours, plain = setting.fit_growing, setting.fit_plain
    for name, measure in (("step, seconds", steps), ("epoch, seconds", epochs)):
        ways = {"ours": lambda measure=measure: measure(ours), "plain": lambda measure=measure: measure(plain)}
        print_row(name, *in_turns(ways, values.rounds).values())
    print_row("memory, MB", *memory)
    seconds, macs = frozen_prefix(setting)
    print(f"\n{'':<16}{'frozen':>12}{'thawed':>12}{'ratio':>8}")
    print_row("step, MACs", macs["frozen"], macs["thawed"])
    print_row("step, seconds", seconds["frozen"], seconds["thawed"])


def print_row(name: str, ours: float, theirs: float) -> None:
    print(f"{name:<16}{ours:>12.4g}{theirs:>12.4g}{ours / theirs:>8.3f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
