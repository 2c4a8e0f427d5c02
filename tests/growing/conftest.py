"""What the tests of growing share: a small model, some of the digits, and data without an end."""

import keras
import pytest

from odn_keras import OptimallyDeepNetwork


@pytest.fixture
def small_model():
    """Makes a compiled model of width 8; the arguments are those of `OptimallyDeepNetwork`."""

    def make(**arguments):
        model = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=8, **arguments)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True))
        return model

    return make


@pytest.fixture
def arrays(digits):
    """256 training images and 128 for validation, as arrays with labels."""
    (images, labels), (others, their_labels) = digits.train, digits.validation
    return (images[:256].astype("float32"), labels[:256]), (others[:128].astype("float32"), their_labels[:128])


class Endless(keras.utils.PyDataset):
    """The same pair for ever."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        return self.images[:32], self.labels[:32]


@pytest.fixture
def endless():
    """The class of a dataset that does not say where it ends."""
    return Endless
