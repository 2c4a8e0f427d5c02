"""`OptimallyDeepNetwork`: what a Keras user compiles and fits."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import keras

from odn_keras.data.batches import Batches
from odn_keras.errors import InputError
from odn_keras.growing.averaging import training_samples
from odn_keras.growing.checkpoint import Checkpoint
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.distillation import Distillation, check_teacher, trained_model
from odn_keras.growing.growing_fit import FitOptions, GrowingFit
from odn_keras.growing.network_in_training import Compilation, NetworkInTraining
from odn_keras.growing.optimizers import OptimizerTemplate
from odn_keras.growing.precision import jit_compile
from odn_keras.growing.training_data import TrainingData
from odn_keras.networks import builder
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.start import Carried, Start
from odn_keras.prune import ChannelPruning

IMPOSSIBLE_BESIDE_GROWTH = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)
OF_WHAT_IS_COMPILED = (
    "optimizer",
    "loss",
    "metrics",
    "metrics_names",
    "compiled",
    "stop_training",
    "get_compile_config",
    "train_on_batch",
    "test_on_batch",
    "reset_metrics",
    "get_metrics_result",
)
OWN = (
    "network",
    "spec",
    "carried",
    "_network",
    "_fitted",
    "_teacher",
    "_distillation",
    "_compile_arguments",
    "_trained",
)


class OptimallyDeepNetwork:
    """A residual classifier that finds its depth while it is trained.

    It is compiled, fitted, evaluated and saved like a `keras.Model`, but is none itself: it holds one, which growing
    replaces. Whatever is not defined here is the current network's own (`predict`, `summary`, `save`, `layers`, ...),
    so a saved file is a plain network that loads without this package. With a `DepthGrowth` among the callbacks `fit`
    grows the network, without one it trains it as it is.

    Args:
        backbone: `"resnet18"`, `"resnet34"` or `"resnet50"`.
        input_shape: (height, width, channels), in pixels.
        num_classes: number of classes; labels are 0 .. num_classes - 1.
        spec: the architecture, instead of these three and `architecture`.
        depth: residual blocks to begin with; default: 1, or as many as `start_from` brings.
        dtype: a Keras dtype policy; default: the global one. Not float16, which needs a scaled loss.
        teacher: a classifier of the same images and classes, from which all outputs learn besides the labels; it is
            frozen. Default: inner exits learn from the end.
        distillation: how much is learned from whom; default: `Distillation()`.
        start_from: a trained network of any classes, such as `odn_keras.load("runs/other/model.keras")`, whose stem
            and blocks are carried over as far as they fit (see `odn_keras.networks.start`); it is left unchanged. A
            growing fit then trains the head alone for the first twentieth of its cycle, 150 steps at most.
        **architecture: other attributes of `odn_keras.NetworkSpec`: `width` (channels of the stem), `stem_stride`,
            `input_scale`, `inner`, `stream` and `exits`. With exits, depths or `"all"` of them, a deeper network has
            several outputs, the shallowest first, all trained together; metrics are those of the end.

    Attributes:
        network: the current network, a plain functional `keras.Model`; another one made by `odn_keras.build` or
            `odn_keras.prune.compact` may be put in its place, and is compiled before it is fitted.
        spec: its `NetworkSpec`.
        carried: what it has of `start_from`; `None` without one.
        trainable, stop_training: as of a `keras.Model`. Anything else is set on `network`, or given to `compile`.

    Raises:
        InputError: for a value out of range, for a spec beside what it stands for, and for a start of which no block
            fits.

    >>> OptimallyDeepNetwork("resnet18", (28, 28, 1), 10, width=8, exits="all").spec.exits
    (1, 2, 3, 4, 5, 6, 7, 8)
    >>> OptimallyDeepNetwork(spec=NetworkSpec("resnet18", (28, 28, 1), 10, width=8), depth=2).depth
    2
    """

    carried: Carried | None

    def __init__(
        self,
        backbone: str | None = None,
        input_shape: tuple[int, int, int] | None = None,
        num_classes: int | None = None,
        *,
        spec: NetworkSpec | None = None,
        depth: int | None = None,
        dtype: str | None = None,
        teacher: keras.Model | None = None,
        distillation: Distillation | None = None,
        start_from: keras.Model | None = None,
        **architecture: Any,
    ):
        given: dict[str, Any] = {"backbone": backbone, "input_shape": input_shape, "num_classes": num_classes}
        given = {name: value for name, value in given.items() if value is not None} | architecture
        if spec is not None and given:
            raise InputError(f"a spec is the whole architecture: leave out {', '.join(given)}")
        self.spec = spec or _spec(**given)
        if keras.dtype_policies.get(dtype or keras.config.dtype_policy()).compute_dtype == "float16":
            raise InputError("float16 needs a scaled loss, which is not supported: use mixed_bfloat16 or float32")
        if teacher is not None:
            check_teacher(teacher, self.spec.input_shape, self.spec.num_classes)
        self._teacher, self._distillation = teacher, distillation or Distillation()
        self._trained = False  # by a growing fit, to its end
        start = None if start_from is None else Start(start_from, self.spec)
        if start is not None:
            self.spec = start.spec
        if depth is None:
            depth = start.blocks if start else 1
        self.network = builder.build(self.spec, depth, dtype)
        if start is not None:
            self.carried = start.carry_into(self.network)

    @property
    def network(self) -> keras.Model:
        """The current network."""
        return self._network

    @network.setter
    def network(self, network: keras.Model) -> None:
        self._network = self._fitted = network  # the latter is what Keras fits
        self.carried = None
        self._compile_arguments: dict[str, Any] | None = None

    @property
    def depth(self) -> int:
        """Number of residual blocks of the current network."""
        return builder.depth_of(self.network)

    def __getattr__(self, name: str) -> Any:
        if name in OWN:  # not there yet: without this, a failed constructor would recurse
            raise AttributeError(name)
        return getattr(self._fitted if name in OF_WHAT_IS_COMPILED else self._network, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN:
            super().__setattr__(name, value)
        elif name == "trainable":
            self._network.trainable = value
        elif name == "stop_training":
            self._fitted.stop_training = value
        else:
            raise AttributeError(
                f"{name} cannot be set on an OptimallyDeepNetwork, whose network is replaced as it grows: "
                "give it to compile, or set it on .network where that is no longer grown"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the current network."""
        return self.network(*args, **kwargs)

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "sgd",
        loss: Any = "sparse_categorical_crossentropy",
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, with accuracy as the default metric and `jit_compile` as measurement favours.

        Every stage of a growing `fit` gets a fresh copy of the optimizer, as it is when `fit` begins; while widths
        shrink, the copy clips gradients to a global norm of 1 unless the optimizer clips them already. A constant
        learning rate is taken as the peak of each stage's schedule (see `odn_keras.growing.schedules`); a
        `LearningRateSchedule` is left alone and runs on across the stages. A setting that no copy would have is
        refused by `fit`.
        """
        compile_arguments = {
            "loss": loss,
            "metrics": ["accuracy"],
            "jit_compile": jit_compile(),
            **kwargs,
        }
        self._fitted = trained_model(self.network, self._teacher, self._distillation)
        self._fitted.compile(optimizer=optimizer, **compile_arguments)
        self._compile_arguments = compile_arguments

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`; loss and metrics are those of the network's end, and the accuracy of each exit."""
        return self._fitted.evaluate(*args, **kwargs)

    def fit(  # noqa: PLR0917 (the order of keras.Model.fit)
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Sequence[keras.callbacks.Callback] | keras.callbacks.Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        *,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`; with a `DepthGrowth` callback the network grows.

        Epoch numbers and the returned `History` run on across the stages, and the other callbacks see one training. The
        history of an exit's accuracy is NaN for the epochs before there was the exit.
        `epochs` is the budget of the whole run. Afterwards the network holds the weights of the best epoch. Each
        stage has a fresh optimizer, whose `iterations` start at 0 again. With a `ChannelPruning` as well, the depth
        that is found is pruned in a last cycle; network and `spec` are the compact ones from then on.

        Raises:
            InputError: without validation data after every epoch, where the monitored metric is not logged, with a
                callback that cannot work beside growth: one that sets the learning rate, or `BackupAndRestore`; for
                settings of the optimizer or the network that would be lost on the way, data that say neither how many
                batches they have nor get `steps_per_epoch`, or an iterator that ends too early; a sparse loss
                beside `Batches`; and where the `Checkpoint` is that of a complete training of this model.
            TrainingDiverged: where the loss explodes or becomes NaN, and does so again from the epoch before at a tenth
                of the learning rate; the best weights so far are restored.
        """
        callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or [])
        data = {"x": x, "y": y, "batch_size": batch_size, "steps_per_epoch": steps_per_epoch, **kwargs}
        data |= {"validation_data": validation_data, "validation_split": validation_split}
        if isinstance(x, Batches):
            data.setdefault("shuffle", False)  # they shuffle the images, and are prepared in their order
            if self._compile_arguments is not None:
                _check_takes_probabilities(self._compile_arguments["loss"])
        if not any(isinstance(callback, DepthGrowth) for callback in callbacks):
            with _resting_after(x):
                return self._fitted.fit(
                    **data, epochs=epochs, initial_epoch=initial_epoch, callbacks=callbacks, verbose=verbose
                )
        growing = self._growing_fit(data, callbacks, range(initial_epoch, epochs), 1 if verbose == "auto" else verbose)
        with _resting_after(x):
            history = growing.run()
        self._trained = True
        return history

    def _growing_fit(
        self, data: dict[str, Any], callbacks: list[keras.callbacks.Callback], epochs: range, verbose: str | int
    ) -> GrowingFit:
        """Prepares a fit with a `DepthGrowth` among its callbacks; `data` are the other arguments of `fit`."""
        growths = [callback for callback in callbacks if isinstance(callback, DepthGrowth)]
        checkpoints = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
        prunings = [callback for callback in callbacks if isinstance(callback, ChannelPruning)]
        if max(len(growths), len(checkpoints), len(prunings)) > 1:
            raise InputError(
                "fit takes one DepthGrowth and at most one Checkpoint and one ChannelPruning, "
                f"got {len(growths)}, {len(checkpoints)} and {len(prunings)}"
            )
        if self._compile_arguments is None:
            raise InputError("compile the model before fit")
        _check_validated_every_epoch(data)
        _check_callbacks(callbacks)
        if not epochs:
            raise InputError(f"epochs must be more than initial_epoch, got {epochs.stop} and {epochs.start}")
        _check_plain(self.network)
        optimizer = OptimizerTemplate(self._fitted.optimizer, self.network)
        compilation = Compilation(self._compile_arguments, optimizer, self._teacher, self._distillation)
        training = NetworkInTraining(self.network, self.spec, compilation)
        training.on_compile.append(self._hold)
        options = FitOptions(
            growth=growths[0],
            checkpoint=checkpoints[0] if checkpoints else None,
            pruning=prunings[0] if prunings else None,
            callbacks=[callback for callback in callbacks if callback not in (*growths, *checkpoints, *prunings)],
            epochs=epochs,
            verbose=verbose,
            trained_before=self._trained,
            carried=self.carried.blocks if self.carried and not self._trained else 0,
        )
        steps = data["steps_per_epoch"] or _count_steps(data["x"], data["batch_size"], data["validation_split"])
        return GrowingFit(training, TrainingData(data, steps), options)

    def _hold(self, training: NetworkInTraining) -> None:
        self._network, self._fitted, self.spec = training.network, training.fitted, training.spec


def _spec(*, exits: Sequence[int] | Literal["all"] = (), **architecture: Any) -> NetworkSpec:
    """The spec of these attributes, where exits may be "all" as well."""
    spec = NetworkSpec(**architecture)
    return dataclasses.replace(spec, exits=tuple(range(1, spec.max_depth + 1)) if exits == "all" else tuple(exits))


@contextlib.contextmanager
def _resting_after(x: Any) -> Iterator[None]:
    """Context manager: batches that are prepared in threads leave none behind, on whatever way the block ends."""
    try:
        yield
    finally:
        if isinstance(x, Batches):
            x.rest()


def _check_validated_every_epoch(data: dict[str, Any]) -> None:
    """Refuses arguments of `fit` by which an epoch would not be validated."""
    validation = data["validation_data"]
    if validation is None and not data["validation_split"]:
        raise InputError("DepthGrowth compares validation accuracy with the target: give fit validation_data")
    if _is_endless(validation) and not data.get("validation_steps"):
        raise InputError(
            f"give fit validation_steps, or validation data that can be read after every epoch: how many batches "
            f"this {type(validation).__name__} has is unknown"
        )
    if data.get("validation_freq", 1) != 1:
        raise InputError(
            f"DepthGrowth decides after every epoch: validation_freq must be 1, got {data['validation_freq']}"
        )


def _check_callbacks(callbacks: list[keras.callbacks.Callback]) -> None:
    """Refuses callbacks that cannot work beside growth."""
    for callback in callbacks:
        if isinstance(callback, IMPOSSIBLE_BESIDE_GROWTH):
            raise InputError(
                f"{type(callback).__name__} cannot work beside DepthGrowth, which sets the learning rate "
                "and replaces the network: leave it out"
            )
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise InputError(
                "BackupAndRestore cannot work beside DepthGrowth, which replaces the network: take odn_keras.Checkpoint"
            )


def _check_plain(network: keras.Model) -> None:
    """Refuses settings that a growing fit, which trains all layers and builds fresh networks, would undo."""
    for layer in network.layers:
        if layer.weights and not (layer.trainable and network.trainable):
            raise InputError(
                f"layer {layer.name} is frozen, and a growing fit trains every layer: "
                "set trainable = True, or fit without DepthGrowth"
            )
        for variable in layer.trainable_weights:
            if variable.regularizer is not None or variable.constraint is not None:
                raise InputError(
                    f"{variable.path} has a regularizer or constraint, which deeper networks would not have: "
                    "take weight_decay of the optimizer, or fit without DepthGrowth"
                )


def _check_takes_probabilities(loss: Any) -> None:
    """Refuses a loss of class numbers beside batches of one-hot, smoothed or mixed labels."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
    if "sparse" in str(name).lower():
        raise InputError(
            f"Batches have one probability for each class as labels, and the loss {name} takes class numbers: "
            'compile with loss="categorical_crossentropy"'
        )


def _is_endless(data: Any) -> bool:
    """Whether the data can be read only once or do not say where they end."""
    if isinstance(data, keras.utils.PyDataset):
        return _batches_of(data) is None
    return hasattr(data, "__next__") or (hasattr(data, "cardinality") and int(data.cardinality()) == -1)


def _batches_of(data: keras.utils.PyDataset) -> int | None:
    try:
        return data.num_batches
    except NotImplementedError:
        return None


def _count_steps(x: Any, batch_size: int | None, validation_split: float) -> int:
    """Training steps of one epoch, as Keras will make them."""
    if _is_endless(x):
        raise InputError(
            f"give fit steps_per_epoch: how many batches an epoch of this {type(x).__name__} has is unknown"
        )
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    arrays = keras.tree.flatten(x)
    if hasattr(arrays[0], "shape"):
        return math.ceil(training_samples(arrays[0].shape[0], validation_split) / (batch_size or 32))
    try:
        return len(x)
    except TypeError:  # a dataset that does not know its length: it is read once
        return sum(1 for _ in x)
