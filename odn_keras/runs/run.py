"""One run, from a dataset to a measured `.tflite`: what `python -m odn_keras.train` does."""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from dataclasses import dataclass
from typing import Any

import keras

from odn_keras.data.batches import Batches
from odn_keras.data.datasets import Dataset
from odn_keras.data.share import Share
from odn_keras.deploy.convert import tensorflow_process
from odn_keras.deploy.convert.tflite import MIN_CALIBRATION_IMAGES
from odn_keras.deploy.measured_file import export_measured
from odn_keras.errors import InputError
from odn_keras.files import replacing, write_json, write_lines
from odn_keras.growing import distribution
from odn_keras.growing.checkpoint import Checkpoint
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.distillation import student
from odn_keras.growing.divergence import TrainingDiverged
from odn_keras.growing.epoch_line import EpochLine
from odn_keras.growing.optimally_deep_network import OptimallyDeepNetwork
from odn_keras.growing.precision import precision
from odn_keras.networks import builder
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.start import Start
from odn_keras.runs import board, overview, results
from odn_keras.runs.augmentation_picture import plot_augmentation
from odn_keras.runs.board import Board
from odn_keras.runs.continuation import FinishedRun, load_finished
from odn_keras.runs.growth_picture import plot_growth
from odn_keras.runs.options import DataOptions, RunOptions
from odn_keras.runs.report import summary
from odn_keras.runs.report.evaluation import Evaluation
from odn_keras.runs.report.run_page import write_run_page
from odn_keras.runs.report.summary import FLOAT, INT8
from odn_keras.runs.run_data import data_options, load_by_options, load_data, record_of, start_record, teacher_record
from odn_keras.runs.run_files import BOARD, MODEL, REPORT, SUPERNET
from odn_keras.runs.run_folder import RunFolder
from odn_keras.runs.run_record import SHOWN
from odn_keras.runs.training_setup import (
    check_pruning,
    check_target_metric,
    first_depth,
    load_start,
    load_teacher,
    network_spec,
    new_model,
    pruning_of,
    training_batches,
    validation_batches,
    within_budget,
)
from odn_keras.utils import keras_config


def run(
    options: RunOptions,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    tensorboard: bool = False,
) -> dict[str, Any] | None:
    """Trains by progressive depth expansion, exports, measures, and leaves everything in a folder.

    Under a `keras.distribution` of several processes each of them calls this; process 0 alone writes.

    Args:
        options: of the run.
        out: the run's folder, made if need be.
        overwrite: whether the run that `out` holds may be replaced.
        resume: whether to resume the run that `out` holds, from its last checkpoint; a finished one is left as it is,
            and where there is none it begins.
        tensorboard: whether metrics, depth and forecast are written for TensorBoard too, into the folder `tensorboard`
            of the run.

    Returns:
        What `report.json` holds; `None` in other processes than process 0.

    Raises:
        InputError: for data, a folder or a configuration of Keras that cannot be used, for data that are no longer
            those of the run to resume, or another teacher or start, for a start of which nothing fits, or without
            TensorFlow, which exports under any backend; nothing is written then.
        TrainingDiverged: where the loss becomes NaN or explodes, twice; `model.keras` then holds the best weights from
            before that.
    """
    keras_config.check()
    if tensorboard:
        board.check_installed()
    share = distribution.current()
    folder = RunFolder(pathlib.Path(out).expanduser())
    found = json.loads(distribution.from_chief(lambda: _look(folder, options, overwrite=overwrite, resume=resume)))
    if found["report"]:
        return found["report"] if share.is_chief else None
    # All that can be checked is checked before anything of an earlier run is removed.
    setup = _checked_setup(options, folder, share, found=found)
    teacher = load_teacher(setup.teacher_path, setup.dataset)
    keras.utils.set_random_seed(setup.fitted.seed)  # only now: a teacher draws numbers too
    depth, start = setup.first_depth, setup.start
    model = new_model(
        setup.fitted,
        setup.dataset,
        setup.dtype,
        depth=depth,
        teacher=teacher,
        start=start,
        continued=setup.continued,
    )
    with contextlib.ExitStack() as claim:
        with distribution.together():
            if share.is_chief:
                claimed = folder.claimed(options, setup.dtype, setup.data_record, overwrite=overwrite, resume=resume)
                claim.enter_context(claimed)
        if share.is_chief:
            _announce(setup, model)
        with distribution.noticing_loss():
            growth = _grow(model, setup, tensorboard=tensorboard)
        if not share.is_chief:
            return None
        with distribution.local():
            result = _deploy(model, growth, setup)
        folder.finish()
    return result


@dataclass(frozen=True)
class _Setup:
    """A run about to begin.

    Attributes:
        options: as given.
        fitted: the same after a budget has made the network smaller, if there is one.
        dtype: Keras dtype policy.
        dataset: to train on.
        data_record: what the run keeps of its data, its teacher and its start.
        start: the network that it starts from, if any.
        batches: for training.
        share: of every batch, of this process.
        folder: of the run.
        continued: the run that it continues, if any.
    """

    options: RunOptions
    fitted: RunOptions
    dtype: str
    dataset: Dataset
    data_record: dict[str, Any]
    start: Start | None
    batches: Batches
    share: Share
    folder: RunFolder
    continued: FinishedRun | None

    @property
    def teacher_path(self) -> str | None:
        return self.data_record["teacher_path"]

    @property
    def first_depth(self) -> int:
        return first_depth(self.fitted, self.start, self.continued)

    @property
    def spec(self) -> NetworkSpec:
        """The architecture, without exits, before any pruning."""
        return self.start.spec if self.start else network_spec(self.fitted, self.dataset)


def _look(folder: RunFolder, options: RunOptions, *, overwrite: bool, resume: bool) -> bytes:
    """Looks at the folder before the data are loaded.

    Returns:
        As JSON, the report of a finished run, else the precision and the record of the run to resume.
    """
    folder.check(options, overwrite=overwrite, resume=resume)
    if resume and (finished := folder.report(*SHOWN)):
        return json.dumps({"report": finished}).encode()
    tensorflow_process.check_installed()  # now, not when all is trained
    record = folder.record() if resume and folder.unfinished else None
    dtype = record["precision"] if record else precision(options.precision, depthwise=options.depthwise)
    return json.dumps({"report": None, "precision": dtype, "resumed": record}).encode()


def _checked_setup(options: RunOptions, folder: RunFolder, share: Share, found: dict[str, Any]) -> _Setup:
    """Loads the data and checks options, data, teacher and start against each other; `found` is what `_look` returned.

    Raises:
        InputError: where they do not fit together.
    """
    with distribution.together(), distribution.local():
        teacher = teacher_record(options.teacher, found["resumed"])
        begun_with = start_record(options.start_from, found["resumed"])
        dataset, data_record = _load(options, share, folder, resumed=found["resumed"])
        fitted = within_budget(options, dataset)
        batches = training_batches(fitted, dataset, share)
        start = load_start(begun_with["start_path"], fitted, dataset)
        spec = start.spec if start else network_spec(fitted, dataset)
        check_target_metric(fitted, dataset)
        continued = load_finished(fitted, dataset)
        check_pruning(fitted, spec, first_depth(fitted, start, continued))
        if share.processes > 1:
            load_teacher(teacher["teacher_path"], dataset)  # some process may lack the file
    return _Setup(
        options=options,
        fitted=fitted,
        dtype=found["precision"],
        dataset=dataset,
        data_record=data_record | teacher | begun_with,
        start=start,
        batches=batches,
        share=share,
        folder=folder,
        continued=continued,
    )


def _load(
    options: RunOptions, share: Share, folder: RunFolder, resumed: dict[str, Any] | None
) -> tuple[Dataset, dict[str, Any]]:
    """The data, for a resumed run the same as before; and what the run keeps to know them again."""
    if options.batch_size % share.devices:
        raise InputError(f"--batch_size must be divisible by the {share.devices} devices, got {options.batch_size}")
    wanted = DataOptions(**{field.name: getattr(options, field.name) for field in dataclasses.fields(DataOptions)})
    if resumed:
        before = resumed["options"]
        given = {name: now for name, now in dataclasses.asdict(wanted).items() if now != before.get(name)}
        wanted = data_options(resumed, given)
        dataset = load_data(resumed, wanted, folder.path, spool_dir=folder.disk)
    else:
        dataset = load_by_options(wanted, folder.disk)
    if len(dataset.train[0]) < options.batch_size:
        raise InputError(
            f"{options.dataset} has {len(dataset.train[0])} training images, "
            f"fewer than a batch of {options.batch_size}: lower --batch_size"
        )
    if len(dataset.train[0]) < MIN_CALIBRATION_IMAGES:
        raise InputError(
            f"{options.dataset} has {len(dataset.train[0])} training images: "
            f"the int8 export is calibrated on at least {MIN_CALIBRATION_IMAGES}"
        )
    return dataset, record_of(dataset, wanted)


def _announce(setup: _Setup, model: OptimallyDeepNetwork) -> None:
    """Prints what the run is about to do, and plots examples of its training images."""
    steps = len(setup.dataset.train[0]) // setup.fitted.batch_size
    print(overview.describe_data(setup.dataset))
    print(overview.describe_network(setup.options, setup.fitted, model.spec, setup.first_depth))
    if model.carried:
        print(model.carried.describe())
    print(overview.describe_goal(setup.fitted, steps, setup.dtype), flush=True)
    if setup.continued:
        print(setup.continued, flush=True)
    plot_augmentation(setup.batches, setup.dataset.class_names, setup.folder.path / "augmentation.png")


def _grow(model: OptimallyDeepNetwork, setup: _Setup, *, tensorboard: bool) -> DepthGrowth:
    """Trains the model, from the folder's checkpoint if there is one."""
    options, is_chief = setup.fitted, setup.share.is_chief
    growth = DepthGrowth(
        options.target_accuracy,
        monitor=f"val_{options.target_metric}",
        max_depth=options.depth or options.max_depth,
        cycle_epochs=options.first_cycle if options.depth else options.cycle_epochs,
        freeze=options.freeze,
        slack=options.slack,
        shrink_epochs=options.shrink_epochs,
        trained=setup.continued is not None,
        verbose=1 if is_chief else 0,
    )
    on_terminal = sys.stdout.isatty()  # else one line an epoch, instead of a moving bar
    callbacks = [growth, Checkpoint(setup.folder.checkpoint)]
    if is_chief:
        callbacks.append(EpochLine(growth, whole=not on_terminal))
    if is_chief and tensorboard:
        callbacks.append(Board(growth, setup.folder.path / BOARD))
    if pruning := pruning_of(options):
        callbacks.append(pruning)
    callbacks.append(_Recorder(growth, model.spec, setup.dataset.class_names, out=setup.folder.path))
    try:
        model.fit(
            setup.batches,
            epochs=options.epochs,
            validation_data=validation_batches(setup.dataset, setup.share),
            verbose=1 if is_chief and on_terminal else 0,
            callbacks=callbacks,
        )
    except TrainingDiverged as error:
        if not growth.best_depth:
            raise
        best = setup.folder.path / MODEL
        raise TrainingDiverged(f"{error}; the best weights before that are in {best}") from error
    return growth


class _Recorder(keras.callbacks.Callback):
    """Writes the history after every epoch, and the network after every better one. Only the chief writes."""

    def __init__(self, growth: DepthGrowth, spec: NetworkSpec, class_names: tuple[str, ...], out: pathlib.Path):
        super().__init__()
        self._growth, self._spec, self._class_names, self._out = growth, spec, class_names, out
        self._is_chief = distribution.current().is_chief

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        with distribution.together():
            if self._is_chief:
                write_lines(self._class_names, self._out / "labels.txt")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with distribution.together(), distribution.local():
            if self._is_chief:
                summary.write_history(self.model.history.history, self._growth.stages, self._out / "history.csv")
            if self._is_chief and self._growth.improved:
                network = student(self.model)
                end = builder.at_exit(network, self._spec, builder.depth_of(network), dtype="float32")
                _write(end, self._out / MODEL)


def _save_end(network: keras.Model, spec: NetworkSpec, out: pathlib.Path) -> keras.Model:
    """Saves the network without its exits, at its full width."""
    return _save(builder.at_exit(network, spec, builder.depth_of(network)), out / MODEL)


def _save(network: keras.Model, path: pathlib.Path) -> keras.Model:
    """Saves the network in float32, thawed and without optimizer: any backend loads it."""
    network = builder.with_dtype(network, "float32")
    _write(network, path)
    return network


def _write(network: keras.Model, path: pathlib.Path) -> None:
    builder.set_frozen(network, None)
    with replacing(path) as temporary:
        network.save(temporary)


def _deploy(model: OptimallyDeepNetwork, growth: DepthGrowth, setup: _Setup) -> dict[str, Any]:
    """Saves and exports the network, measures it on the test images, used only here, and writes the report."""
    out, fitted = setup.folder.path, setup.fitted
    network = _save_end(model.network, model.spec, out)
    supernet = None
    if len(model.network.outputs) > 1 or setup.options.shrink_epochs:
        supernet = _save(model.network, out / SUPERNET)
    title = f"How the accuracy grew: {pathlib.Path(fitted.dataset).name}, {fitted.backbone_name}, width {fitted.width}"
    plot_growth(growth, title, out / "growth.png")
    print("\nmeasuring the test accuracy of the float network and, in LiteRT, of the int8 file ...", flush=True)
    file = export_measured(network, setup.dataset, out / "model.tflite")
    trained = results.TrainedRun(
        network=network,
        supernet=supernet,
        spec=model.spec,
        unpruned=setup.spec,
        carried=model.carried,
        growth=growth,
        options=setup.options,
        fitted=fitted,
        dtype=setup.dtype,
        dataset=setup.dataset,
        data_record=setup.data_record,
        continued=setup.continued,
    )
    outputs = {INT8: file.answers, FLOAT: file.float_answers}
    images, labels = setup.dataset.test
    evaluation = Evaluation(images, labels, setup.dataset.class_names, outputs, probabilities=file.probabilities)
    result = results.describe(trained, file, evaluation.totals())
    write_run_page(result, evaluation, out)
    write_json(result, out / REPORT)
    return result
