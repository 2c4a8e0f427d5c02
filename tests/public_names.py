"""A program that uses the public names as a user's does: mypy checks it strictly, as part of `make lint`."""

import pathlib

import numpy as np

import odn_keras


def grow(folder: pathlib.Path) -> float:
    """Grows a network on the digits, with everything that training has names for."""
    data = odn_keras.load_dataset("digits")
    batches = odn_keras.Batches(
        data.train, data.num_classes, batch_size=64, augmentation=odn_keras.Augmentation(shift=1)
    )
    validation = odn_keras.EvaluationBatches(data.validation, data.num_classes, batch_size=500)
    model = odn_keras.OptimallyDeepNetwork(
        "resnet18", data.input_shape, data.num_classes, width=8, distillation=odn_keras.Distillation(alpha=0.3)
    )
    growth = odn_keras.DepthGrowth(target=0.95)
    pruning = odn_keras.ChannelPruning(budget=odn_keras.Budget(max_flash=32 * 1024))
    callbacks = [growth, pruning, odn_keras.Checkpoint(folder / "checkpoint")]
    model.fit(batches, validation_data=validation, epochs=30, callbacks=callbacks)
    spec: odn_keras.NetworkSpec = odn_keras.spec_of(model.network, model.spec)
    print(spec, model.depth)
    odn_keras.export_tflite(model.network, np.asarray(data.train[0]), folder / "model.tflite")
    report = odn_keras.run(odn_keras.RunOptions(dataset="digits", width=8), folder / "run")
    return float(report["int8_test_accuracy"]) if report else 0.0


def build(folder: pathlib.Path) -> int:
    """Builds, deepens and prunes a network, and predicts what it takes."""
    spec = odn_keras.NetworkSpec("resnet18", (28, 28, 1), 10, width=8)
    network, fresh_layers = odn_keras.deepen(odn_keras.build(spec, depth=1), spec)
    network.save(folder / "model.keras")
    shallow = odn_keras.at_exit(odn_keras.load(folder / "model.keras"), spec, 1)
    small = odn_keras.prune.compact(shallow)
    print(fresh_layers, small.count_params())
    return odn_keras.footprint.flash_bytes(spec, 2)


def deploy(folder: pathlib.Path) -> np.ndarray:
    """Opens a file in each kind of classifier, and writes it as C++."""
    model = folder / "model.tflite"
    try:
        arena = odn_keras.measure_arena(model)
    except odn_keras.InputError:
        arena = 64 * 1024
    odn_keras.write_c_array(model, ["cat", "dog"], folder, arena_bytes=arena)
    odn_keras.no_such_name  # type: ignore[attr-defined]  # noqa: B018
    classifiers = [
        odn_keras.open_classifier(model),
        odn_keras.LiteRTClassifier(model),
        odn_keras.MicroClassifier(model, arena_bytes=arena),
    ]
    routed = odn_keras.RoutedClassifier(folder / "routed")
    images = np.zeros((1, 28, 28, 1), np.uint8)
    return np.stack([classifier.predict(images) for classifier in (*classifiers, routed)])
