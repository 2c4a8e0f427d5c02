import keras
import numpy as np
import pytest

from odn_keras import Distillation, InputError, NetworkSpec, build, distill
from odn_keras.growing.distillation import Distiller, soft_loss

SPEC = NetworkSpec("resnet18", (8, 8, 1), num_classes=3, width=4)


def digits(n=96):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    images = rng.uniform(0, 100, (n, 8, 8, 1)).astype("float32")
    images[labels == 1, :4] += 150
    images[labels == 2, :, :4] += 150
    return images, labels


def test_soft_loss_is_the_cross_entropy_of_softened_probabilities():
    student, teacher = np.array([[0.7, 0.2, 0.1]], "float32"), np.array([[0.5, 0.25, 0.25]], "float32")
    softened = [p**0.5 / np.sum(p**0.5) for p in (student, teacher)]
    expected = -4 * np.sum(softened[1] * np.log(softened[0]))
    assert keras.ops.convert_to_numpy(soft_loss(student, teacher, 2.0)) == pytest.approx(expected, rel=1e-5)


def test_a_student_comes_to_agree_with_its_teacher_whatever_the_labels_say():
    keras.utils.set_random_seed(0)
    images, labels = digits()
    teacher, student = build(SPEC, 1), build(SPEC, 1)
    teacher.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    teacher.fit(images, labels, epochs=25, batch_size=16, verbose=0)
    before = teacher.get_weights()
    wrong = (labels + 1) % 3
    distill(
        student,
        teacher,
        images,
        wrong,
        alpha=1.0,
        optimizer=keras.optimizers.Adam(0.01),
        epochs=25,
        batch_size=16,
        verbose=0,
    )
    answers = [network.predict(images, verbose=0).argmax(-1) for network in (teacher, student)]
    assert np.mean(answers[0] == labels) > 0.9
    assert np.mean(answers[0] == answers[1]) > 0.9
    for was, weight in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(was, weight)


def test_exits_learn_with_the_end_and_are_logged():
    keras.utils.set_random_seed(0)
    images, labels = digits()
    network = build(NetworkSpec("resnet18", (8, 8, 1), num_classes=3, width=4, exits=(1, 2)), 3)
    model = Distiller(network, None, Distillation())
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    history = model.fit(images, labels, epochs=25, batch_size=16, validation_data=(images, labels), verbose=0).history
    predictions = network.predict(images, verbose=0)
    names = ("val_block1_exit_accuracy", "val_block2_exit_accuracy", "val_accuracy")
    for name, prediction in zip(names, predictions, strict=True):
        assert history[name][-1] == pytest.approx(np.mean(prediction.argmax(-1) == labels), abs=1e-5)
        assert history[name][-1] > 0.8


def test_weights_of_images_and_a_students_regularization_count_once():
    images, labels = digits(12)
    student = build(SPEC, 1)
    student.get_layer("stem_conv").kernel.regularizer = keras.regularizers.L2(0.01)
    expected = keras.ops.convert_to_numpy(sum(student.losses))
    assert expected > 0
    for teacher, exits in ((build(SPEC, 1), ()), (None, (1,))):
        network = student if teacher else build(NetworkSpec("resnet18", (8, 8, 1), 3, width=4, exits=exits), 2)
        model = Distiller(network, teacher, Distillation())
        model.compile("sgd", "sparse_categorical_crossentropy")
        y_pred = network(images)

        def loss(weights, model=model, y_pred=y_pred):
            return float(keras.ops.convert_to_numpy(model.compute_loss(images, labels, y_pred, weights)))

        regularization = expected if teacher else 0.0
        assert loss(np.zeros((12, 1))) == pytest.approx(regularization, abs=1e-6)
        assert loss(np.ones((12, 1))) == pytest.approx(loss(None), rel=1e-5)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (build(NetworkSpec("resnet18", (8, 8, 1), num_classes=4, width=4), 1), r"3 classes, it has \[\(4,\)\]"),
        (build(NetworkSpec("resnet18", (9, 8, 1), num_classes=3, width=4), 1), r"takes images of \(9, 8, 1\)"),
    ],
)
def test_refuses_a_teacher_of_something_else(teacher, message):
    with pytest.raises(InputError, match=message):
        distill(build(SPEC, 1), teacher, *digits(), verbose=0)


@pytest.mark.parametrize("wrong", [{"alpha": 1.5}, {"temperature": 0.0}, {"exit_weight": 0.0}])
def test_refuses_settings_out_of_range(wrong):
    with pytest.raises(InputError, match="must be"):
        Distillation(**wrong)
