"""Ways to find a network that reaches a target accuracy: ours, and what `benchmarks.search_cost` compares it with.

Each is a function of data, recipe and seed that trains on the training images, chooses on the validation images, looks
at the test images once, at its end, and returns an `Outcome`.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.outcome import PAPER_MARGIN, Outcome, reached
from odn_keras import Batches, DepthGrowth, OptimallyDeepNetwork, RunOptions, build, footprint, prune
from odn_keras.data.datasets import Dataset
from odn_keras.devices.accuracy import accuracies
from odn_keras.growing.optimizers import sgd
from odn_keras.growing.precision import jit_compile, precision
from odn_keras.growing.schedules import one_cycle
from odn_keras.networks import cost
from odn_keras.networks.builder import set_frozen
from odn_keras.prune.pruner import Pruner, PruningPlan
from odn_keras.prune.surgery import removable
from odn_keras.runs import run_data, training_setup

# Of the paper and its code; the learning rate to begin with is our choice, neither gives it.
PAPER_PATIENCE = 23
PAPER_WARMUP_EPOCHS = 3
PAPER_BATCH = 128
PAPER_RATE = 0.1
PAPER_DECAY = 5e-4


class Task:
    """Data and recipe, the same for all protocols.

    Args:
        dataset: as `load_dataset` returns it.
        options: the recipe (network, batch size, learning rate, weight decay, augmentation).
        max_depth: deepest network that is considered.
    """

    def __init__(self, dataset: Dataset, options: RunOptions, max_depth: int | None = None):
        self.dataset, self.options = dataset, options
        self.spec = training_setup.network_spec(options, dataset)
        self.max_depth = max_depth or self.spec.max_depth
        self.precision = precision(options.precision)
        self.validation = training_setup.validation_batches(dataset)

    @classmethod
    def load(cls, options: RunOptions, max_depth: int | None = None) -> "Task":
        """With the dataset of the options, in memory."""
        return cls(run_data.load_by_options(dataclasses.replace(options, in_memory=True)), options, max_depth)

    def batches(self, seed: int) -> Batches:
        """The training images, shuffled and augmented by that seed."""
        return training_setup.training_batches(dataclasses.replace(self.options, seed=seed), self.dataset)

    def model(self, depth: int) -> OptimallyDeepNetwork:
        """Ours, compiled."""
        return training_setup.new_model(self.options, self.dataset, self.precision, depth=depth)

    def network(self, depth: int, rate=None, frozen: int | None = None) -> keras.Model:
        """The same as a plain `keras.Model`, compiled with that rate or schedule, the first blocks frozen or none."""
        network = build(self.spec, depth, self.precision)
        set_frozen(network, frozen)
        _compile(network, sgd(rate or self.options.learning_rate, self.options.weight_decay))
        return network

    def test_accuracy(self, network: keras.Model) -> float:
        """Of the end, on all test images."""
        return accuracies(network, self.dataset.test, self.dataset.num_classes)[-1]

    def validation_accuracies(self, network: keras.Model) -> list[float]:
        """Of every output, the end last."""
        return accuracies(network, self.dataset.validation, self.dataset.num_classes)

    def macs_per_epoch(self, depth: int) -> int:
        """Training MACs of one epoch of the network of that depth, nothing frozen."""
        return cost.training_macs(build(self.spec, depth)) * len(self.dataset.train[0])


def grow(task: Task, seed: int, target: float, epochs: int, cycle_epochs: int, **growth) -> Outcome:
    """Ours: `OptimallyDeepNetwork.fit` with `DepthGrowth`."""
    growth = {"freeze": task.options.freeze, "slack": task.options.slack, **growth}
    decides = DepthGrowth(target, max_depth=task.max_depth, cycle_epochs=cycle_epochs, verbose=0, **growth)
    return _fit(task, seed, 1, decides, epochs)[0]


def direct(task: Task, seed: int, depth: int, epochs: int) -> Outcome:
    """A network of known depth, from scratch, by the recipe of ours: one cycle of so many epochs."""
    return _fit(task, seed, depth, _CheckedGrowth(1.0, max_depth=depth, cycle_epochs=epochs, verbose=0), epochs)[0]


class _CheckedGrowth(DepthGrowth):
    """Measures the accuracy within epochs all along, although it decides nothing: for `benchmarks.forecast`."""

    def wants_check(self, before: int, step: int) -> bool:
        return self.plan.check_is_due(self.stages[-1], before, step)


def with_exits(task: Task, seed: int, *, epochs: int, cycle_epochs: int, alpha: float, exit_weight: float) -> Outcome:
    """Ours, to the deepest network, with an exit after every block; its log is the validation accuracy of each."""
    options = dataclasses.replace(task.options, exits="all", alpha=alpha, exit_weight=exit_weight)
    task = Task(task.dataset, options, task.max_depth)
    decides = DepthGrowth(
        1.0,
        max_depth=task.max_depth,
        cycle_epochs=cycle_epochs,
        freeze=options.freeze,
        slack=options.slack,
        shrink_epochs=options.shrink_epochs,
        verbose=0,
    )
    outcome, network = _fit(task, seed, 1, decides, epochs)
    outcome.log = task.validation_accuracies(network)
    return outcome


def _fit(task: Task, seed: int, depth: int, growth: DepthGrowth, epochs: int) -> tuple[Outcome, keras.Model]:
    keras.utils.set_random_seed(seed)
    model = task.model(depth)
    began = time.perf_counter()
    model.fit(task.batches(seed), epochs=epochs, validation_data=task.validation, callbacks=[growth], verbose=0)
    images = len(task.dataset.train[0])
    outcome = Outcome(
        depth=model.depth,
        epochs=round(sum(stage.epochs for stage in growth.stages)),
        training_macs=round(sum(stage.epochs * stage.training_macs_per_image * images for stage in growth.stages)),
        seconds=time.perf_counter() - began,
        val_accuracy=growth.best,
        test_accuracy=task.test_accuracy(model.network),
        log=[
            {
                "depth": stage.depth,
                "phase": stage.phase,
                "val_accuracy": stage.values,
                "forecasts": stage.forecasts,
                "checks": [(stage.progress_at(step), accuracy) for step, accuracy in stage.checks],
            }
            for stage in growth.stages
        ],
    )
    return outcome, model.network


def every_depth(task: Task, seed: int, epochs: int) -> Outcome:
    """Training MACs of a direct training at every depth, in its log; nothing is trained."""
    log = [epochs * task.macs_per_epoch(depth) for depth in range(1, task.max_depth + 1)]
    return Outcome(task.max_depth, 0, sum(log), 0.0, 0.0, 0.0, log)


def plain(task: Task, seed: int, depth: int, epochs: int) -> Outcome:
    """The same without our callback: `keras.Model.fit`, the weights judged as they are instead of averaged."""
    keras.utils.set_random_seed(seed)
    batches = task.batches(seed)
    network = task.network(depth, one_cycle(task.options.learning_rate, epochs * len(batches)))
    began = time.perf_counter()
    values = network.fit(batches, epochs=epochs, validation_data=task.validation, verbose=0).history["val_accuracy"]
    seconds = time.perf_counter() - began
    macs = epochs * task.macs_per_epoch(depth)
    return Outcome(depth, epochs, macs, seconds, max(values), task.test_accuracy(network), values)


def paper(task: Task, seed: int, target: float) -> Outcome:
    """The paper's own protocol (arXiv 2510.10764, with what its code says where the text does not).

    Three epochs in which every step back-propagates the losses of all depths into one shared network; then, depth by
    depth and each time from those weights, SGD until 23 epochs have brought nothing better, its rate times 0.6 after
    each 5 flat epochs; the first depth within half a point of the target is the result. Batches of 128, no
    augmentation, L2. The warm-up is counted as one pass through the shared network, which is the least it can cost.
    """
    keras.utils.set_random_seed(seed)
    batches = Batches(task.dataset.train, task.dataset.num_classes, PAPER_BATCH, seed)
    began = time.perf_counter()
    shared = _with_all_heads(task)
    shared.compile(
        keras.optimizers.SGD(PAPER_RATE, momentum=0.9),
        ["categorical_crossentropy"] * task.max_depth,
        jit_compile=jit_compile(),
    )
    shared.fit(_Repeated(batches, task.max_depth), epochs=PAPER_WARMUP_EPOCHS, verbose=0)
    warm = {layer.name: layer.get_weights() for layer in shared.layers}
    epochs, macs = PAPER_WARMUP_EPOCHS, PAPER_WARMUP_EPOCHS * task.macs_per_epoch(task.max_depth)
    best: float | None = None
    log = []
    for depth in range(1, task.max_depth + 1):
        network = _with_l2(build(task.spec, depth, task.precision))
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(warm[f"head{depth}" if layer.name == "head" else layer.name])
        _compile(network, keras.optimizers.SGD(PAPER_RATE, momentum=0.9))
        patience = keras.callbacks.EarlyStopping(
            "val_accuracy", patience=PAPER_PATIENCE, mode="max", baseline=best, restore_best_weights=True
        )
        decay = keras.callbacks.ReduceLROnPlateau("val_accuracy", factor=0.6, patience=5, mode="max")
        values = network.fit(
            batches, epochs=1000, validation_data=task.validation, callbacks=[patience, decay], verbose=0
        ).history["val_accuracy"]
        epochs, macs = epochs + len(values), macs + len(values) * task.macs_per_epoch(depth)
        best = max(values) if best is None else max(best, *values)
        log.append(
            {
                "depth": depth,
                "epochs": epochs,
                "training_macs": macs,
                "seconds": time.perf_counter() - began,
                "val_accuracy": max(values),
            }
        )
        if reached(max(values), target - PAPER_MARGIN):
            break
    seconds = time.perf_counter() - began
    return Outcome(depth, epochs, macs, seconds, max(values), task.test_accuracy(network), log)


def pruned(task: Task, seed: int, depth: int, epochs: int, sparsity: float) -> Outcome:
    """A network of known depth from scratch by one cycle; from there a cycle again and again, pruned in each way.

    The outcome is that of the network before; its log has for each way what the compact network is and the seconds of
    its cycle.
    """
    keras.utils.set_random_seed(seed)
    batches = task.batches(seed)
    network = task.network(depth, one_cycle(task.options.learning_rate, epochs * len(batches)))
    began = time.perf_counter()
    network.fit(batches, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - began

    def copy() -> keras.Model:
        copied = build(task.spec, depth, task.precision)
        copied.set_weights(network.get_weights())
        return copied

    def at_once() -> keras.Model:
        pruned_network = copy()
        Pruner(pruned_network, PruningPlan(sparsity), steps=1, score=magnitudes).after_step(0)
        return prune.compact(pruned_network)

    ways: dict[str, tuple[Callable[[], keras.Model], list[keras.callbacks.Callback]]] = {
        "not pruned": (copy, []),
        "ChannelPruning": (copy, [prune.ChannelPruning(sparsity).of_trained()]),
        "ChannelPruning, streams too": (copy, [prune.ChannelPruning(sparsity, streams=True).of_trained()]),
        "its schedule, magnitudes": (copy, [ByMagnitude(sparsity).of_trained()]),
        "magnitudes at once, fine-tuned": (at_once, []),
    }
    log = [{"way": name, **_tuned(task, seed, make(), epochs, more)} for name, (make, more) in ways.items()]
    macs = epochs * task.macs_per_epoch(depth)
    return Outcome(
        depth, epochs, macs, seconds, task.validation_accuracies(network)[-1], task.test_accuracy(network), log
    )


def _tuned(task: Task, seed: int, network: keras.Model, epochs: int, callbacks: list) -> dict[str, Any]:
    """Trains by a cycle; the compact network, what it is and how long that took."""
    keras.utils.set_random_seed(seed)
    batches = task.batches(seed)
    steps = epochs * len(batches)
    _compile(network, sgd(one_cycle(task.options.learning_rate, steps), task.options.weight_decay))
    began = time.perf_counter()
    network.fit(batches, epochs=epochs, callbacks=callbacks, verbose=0)
    seconds = time.perf_counter() - began
    small = prune.compact(network) if removable(network) else network
    return {
        "params": cost.params(small),
        "flash_bytes": footprint.Footprint.of(small).flash_bytes,
        "arena_bytes": footprint.Footprint.of(small).arena_bytes,
        "val_accuracy": task.validation_accuracies(small)[-1],
        "test_accuracy": task.test_accuracy(small),
        "seconds": seconds,
    }


def magnitudes(network: keras.Model, groups: list[prune.ChannelGroup]) -> list[np.ndarray]:
    """The L2 norm of all weights that write or read each channel, as magnitude pruning scores it."""

    def squares(kernel: np.ndarray, axis: int) -> np.ndarray:
        return (np.moveaxis(kernel, axis, -1).reshape(-1, kernel.shape[axis]) ** 2).sum(axis=0)

    found = []
    for group in groups:
        total = sum(squares(layer.get_weights()[0], -1) for layer in group.writers)
        total = total + sum(layer.get_weights()[0] ** 2 for layer in group.norms)
        total = total + sum(squares(layer.get_weights()[0], -2) for layer in group.readers)
        found.append(np.sqrt(total))
    return found


class ByMagnitude(prune.ChannelPruning):
    """Our schedule with those scores."""

    score = staticmethod(magnitudes)


def hyperband(task: Task, seed: int, max_epochs: int) -> Outcome:
    """Keras Tuner's Hyperband over the depth; each trial follows our learning-rate cycle of `max_epochs` epochs."""
    import keras_tuner

    batches = task.batches(seed)
    steps, spent = len(batches), [0, 0]

    class Network(keras_tuner.HyperModel):
        def build(self, hyperparameters):
            depth = hyperparameters.Int("depth", 1, task.max_depth)
            return task.network(depth, one_cycle(task.options.learning_rate, max_epochs * steps))

        def fit(self, hyperparameters, network, *arguments, **more):
            history = super().fit(hyperparameters, network, *arguments, **more)
            spent[0] += len(history.epoch)
            spent[1] += len(history.epoch) * task.macs_per_epoch(hyperparameters.get("depth"))
            return history

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.Hyperband(
            Network(),
            "val_accuracy",
            max_epochs=max_epochs,
            factor=3,
            seed=seed,
            directory=folder,
            project_name="depth",
        )
        tuner.search(batches, validation_data=task.validation, verbose=0)
        seconds = time.perf_counter() - began
        trial = tuner.oracle.get_best_trials(1)[0]
        network = tuner.get_best_models(1)[0]
    depth = trial.hyperparameters.get("depth")
    return Outcome(depth, spent[0], spent[1], seconds, trial.score, task.test_accuracy(network))


def _compile(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    optimizer.build(network.trainable_variables)  # so that Keras Tuner restores it when it resumes a trial
    network.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"], jit_compile=jit_compile())


class _Repeated(keras.utils.PyDataset):
    """Each batch's labels once for every output."""

    def __init__(self, batches: Batches, times: int):
        super().__init__()
        self._batches, self._times = batches, times

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        images, labels = self._batches[index]
        return images, (labels,) * self._times

    def on_epoch_end(self):
        self._batches.on_epoch_end()


def _with_all_heads(task: Task) -> keras.Model:
    """The deepest network with a head of its own at every depth, the deepest first."""
    network = build(task.spec, task.max_depth, task.precision)
    outputs = []
    for depth in range(task.max_depth, 0, -1):
        features = keras.layers.GlobalAveragePooling2D()(network.get_layer(f"block{depth}_relu").output)
        head = keras.layers.Dense(task.spec.num_classes, "softmax", name=f"head{depth}", dtype="float32")
        outputs.append(head(features))
    return _with_l2(keras.Model(network.input, outputs))


def _with_l2(network: keras.Model) -> keras.Model:
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.regularizer = keras.regularizers.L2(PAPER_DECAY / 2)  # so that PAPER_DECAY * w is its gradient
    return network
