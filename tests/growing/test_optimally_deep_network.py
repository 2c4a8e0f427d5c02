import keras
import numpy as np
import pytest

from odn_keras import (
    Augmentation,
    Batches,
    Budget,
    ChannelPruning,
    DepthGrowth,
    InputError,
    NetworkSpec,
    OptimallyDeepNetwork,
    build,
)
from odn_keras.prune import compact


def test_fit_without_growth_trains_the_network_as_it_is(arrays, small_model):
    (images, labels), _ = arrays
    model = small_model(depth=2)
    history = model.fit(images, labels, epochs=2, verbose=0)
    assert model.depth == 2 and len(history.history["loss"]) == 2
    model.fit(images, labels, epochs=3, initial_epoch=2, verbose=0)


def test_behaves_like_the_network_it_holds(arrays, tmp_path, capsys, small_model):
    (images, _labels), _ = arrays
    model = small_model()
    model.summary()
    assert "stem_conv" in capsys.readouterr().out
    assert model.count_params() == model.network.count_params()
    assert model.predict(images[:3], verbose=0).shape == (3, 10)
    assert model(images[:3]).shape == (3, 10)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images[:3], verbose=0), model.predict(images[:3], verbose=0))
    with pytest.raises(AttributeError):
        _ = model.no_such_thing


def test_what_is_set_on_the_model_reaches_the_network_or_is_refused(arrays, small_model):
    (images, labels), validation = arrays
    model = small_model(exits=[1])
    model.trainable = False
    assert not model.network.trainable_weights
    model.trainable = True
    for name in ("optimizer", "name", "jit_compile", "no_such_thing"):
        with pytest.raises(AttributeError, match=f"{name} cannot be set on an OptimallyDeepNetwork"):
            setattr(model, name, "sgd")
    with pytest.raises(AttributeError):
        model.depth = 3
    model.optimizer.learning_rate = 0.01
    seen = []

    def look(epoch, logs):
        seen.append((model.depth, float(look_on.model.optimizer.learning_rate) <= 0.0101))
        model.stop_training = epoch == 3

    look_on = keras.callbacks.LambdaCallback(on_epoch_end=look)
    growth = DepthGrowth(1.0, max_depth=2, cycle_epochs=2, verbose=0)
    fit = {"validation_data": validation, "epochs": 9, "callbacks": [growth, look_on], "verbose": 0}
    history = model.fit(images[:64], labels[:64], **fit)
    assert {depth for depth, _ in seen} == {1, 2} and all(low for _, low in seen)
    assert history.epoch == [0, 1, 2, 3]
    model.network = build(model.spec, 1)
    with pytest.raises(InputError, match="compile the model"):
        model.fit(images[:64], labels[:64], **fit)


def test_a_network_made_compact_by_hand_grows_on(arrays, small_model):
    (images, labels), validation = arrays
    model = small_model()
    arguments = {"batch_size": 64, "validation_data": validation, "verbose": 0}
    model.fit(images, labels, epochs=2, callbacks=[ChannelPruning(0.5)], **arguments)
    model.network = compact(model.network)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    growth = DepthGrowth(1.0, max_depth=2, cycle_epochs=1, verbose=0)
    model.fit(images, labels, epochs=3, callbacks=[growth], **arguments)
    assert model.spec.inner[0][0] == model.network.get_layer("block1_conv1").filters < 8


def test_bad_fits_are_refused(arrays, small_model, endless):
    (images, labels), validation = arrays
    growth = DepthGrowth(0.9, verbose=0)
    with pytest.raises(InputError, match="validation_data"):
        small_model().fit(images, labels, callbacks=[growth])
    with pytest.raises(InputError, match="compile"):
        OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=4).fit(
            images, labels, validation_data=validation, callbacks=[growth]
        )
    with pytest.raises(InputError, match="val_f1"):
        wrong = DepthGrowth(0.9, monitor="val_f1", verbose=0)
        small_model().fit(images, labels, validation_data=validation, callbacks=[wrong], verbose=0)
    for impossible in (
        keras.callbacks.ReduceLROnPlateau(),
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
    ):
        with pytest.raises(InputError, match=type(impossible).__name__):
            small_model().fit(images, labels, validation_data=validation, callbacks=[growth, impossible], epochs=3)
    with pytest.raises(InputError, match="validation_freq"):
        small_model().fit(images, labels, validation_data=validation, callbacks=[growth], epochs=3, validation_freq=2)
    with pytest.raises(InputError, match="cycle_epochs"):
        long = DepthGrowth(0.9, cycle_epochs=4, verbose=0)
        small_model().fit(images, labels, validation_data=validation, callbacks=[long], epochs=3)
    with pytest.raises(InputError, match="steps_per_epoch"):
        generator = ((images[:32], labels[:32]) for _ in iter(int, 1))
        small_model().fit(generator, validation_data=validation, callbacks=[growth], epochs=3)
    with pytest.raises(InputError, match="steps_per_epoch: how many batches an epoch of this Endless has"):
        small_model().fit(endless(images, labels), validation_data=validation, callbacks=[growth], epochs=3)
    with pytest.raises(InputError, match="give fit validation_steps"):
        small_model().fit(images, labels, validation_data=endless(images, labels), callbacks=[growth], epochs=3)
    with pytest.raises(InputError, match="OptimallyDeepNetwork"):
        plain = small_model().network
        plain.fit(images, labels, validation_data=validation, callbacks=[DepthGrowth(0.9)], verbose=0)
    with pytest.raises(InputError, match="at depth 8: pruned to one channel a group"):
        small = ChannelPruning(budget=Budget(max_flash=3000))
        small_model().fit(images, labels, validation_data=validation, callbacks=[growth, small], epochs=6, verbose=0)
    with pytest.raises(InputError, match=r"take odn_keras\.Checkpoint"):
        backup = keras.callbacks.BackupAndRestore("backup")
        small_model().fit(images, labels, validation_data=validation, callbacks=[growth, backup], epochs=3)
    for value, name in ((False, "stem_conv is frozen"), (True, "block1_conv1/kernel has a regularizer")):
        model = small_model()
        model.network.get_layer("stem_conv").trainable = value
        model.network.get_layer("block1_conv1").kernel.regularizer = keras.regularizers.L2(0.1)
        with pytest.raises(InputError, match=name):
            model.fit(images, labels, validation_data=validation, callbacks=[growth], epochs=3)
    with pytest.raises(InputError, match="give it var_names"):
        model = small_model()
        optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1)
        optimizer.exclude_from_weight_decay(var_list=[model.network.get_layer("stem_bn").gamma])
        model.compile(optimizer)
        model.fit(images, labels, validation_data=validation, callbacks=[growth], epochs=3)
    with pytest.raises(InputError, match="float16 needs a scaled loss"):
        small_model(dtype="mixed_float16")
    with pytest.raises(InputError, match="max_depth"):
        deep = DepthGrowth(0.9, max_depth=9, verbose=0)
        small_model().fit(images, labels, validation_data=validation, callbacks=[deep], verbose=0)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy()])
@pytest.mark.parametrize("callbacks", [[], [DepthGrowth(0.9, cycle_epochs=1, verbose=0)]])
def test_a_sparse_loss_beside_batches_of_mixed_labels_is_refused(digits, loss, callbacks, small_model):
    model = small_model()
    model.compile("sgd", loss)
    batches = Batches(digits.train, 10, 64, augmentation=Augmentation(mixup=0.2))
    with pytest.raises(InputError, match=r'loss="categorical_crossentropy"'):
        model.fit(batches, epochs=3, callbacks=callbacks, verbose=0)


def test_a_spec_stands_for_the_architecture_and_goes_beside_nothing_else():
    parts = {"width": 4, "exits": [2, 1], "inner": [[3]], "stem_stride": 2}
    model = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, **parts, depth=2)
    assert model.spec == NetworkSpec("resnet18", (8, 8, 1), 10, **parts) and model.spec.exits == (1, 2)
    assert OptimallyDeepNetwork(spec=model.spec).spec is model.spec
    every = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=4, exits="all")
    assert every.spec.exits == tuple(range(1, 9))
    with pytest.raises(InputError, match="leave out backbone, width"):
        OptimallyDeepNetwork("resnet18", spec=model.spec, width=4)
    with pytest.raises(InputError, match="width must be at least 1, got 0"):
        OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=0)
    with pytest.raises(TypeError, match="num_classes"):
        OptimallyDeepNetwork("resnet18", (8, 8, 1))
    with pytest.raises(TypeError, match="no_such_thing"):
        OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, no_such_thing=1)


@pytest.mark.one_backend
@pytest.mark.parametrize("depth", [0, -1, 9])
def test_a_depth_that_there_is_not_is_refused(depth):
    with pytest.raises(InputError, match=f"depths 1 to 8, got {depth}"):
        OptimallyDeepNetwork("resnet18", (8, 8, 1), 2, width=2, depth=depth)
