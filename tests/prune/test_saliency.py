import keras
import numpy as np
import pytest

from odn_keras import NetworkSpec, build
from odn_keras.growing.averaging import recalibrate
from odn_keras.prune import find_groups, saliencies


@pytest.mark.one_backend
def test_the_channels_predicted_to_matter_least_do(trained_on_digits, digits):
    """Without the half of least saliency the network errs less than without a random half, and than the other."""
    network = keras.models.clone_model(trained_on_digits)
    images, labels = digits.validation[0].astype("float32"), digits.validation[1]

    def right_without(chosen):
        network.set_weights(trained_on_digits.get_weights())
        for group, channels in zip(find_groups(network), chosen, strict=True):
            for norm in group.norms:
                scale, offset, *statistics = norm.get_weights()
                scale[channels] = offset[channels] = 0
                norm.set_weights([scale, offset, *statistics])
        recalibrate(network, [digits.train[0].astype("float32")])
        return np.mean(network.predict(images, verbose=0).argmax(axis=-1) == labels)

    order = [np.argsort(score) for score in saliencies(trained_on_digits, find_groups(trained_on_digits))]
    least, most = [part[:8] for part in order], [part[8:] for part in order]
    rng = np.random.default_rng(0)
    at_random = [right_without([rng.permutation(16)[:8] for _ in order]) for _ in range(5)]
    assert right_without(least) > np.mean(at_random) > right_without(most)


def test_a_channel_that_is_zero_or_not_read_counts_nothing():
    network = build(NetworkSpec("resnet18", (8, 8, 1), 2, width=4), 1)
    scale, offset, *statistics = network.get_layer("block1_bn1").get_weights()
    scale[0] = offset[0] = 0
    network.get_layer("block1_bn1").set_weights([scale, offset, *statistics])
    (reads,) = network.get_layer("block1_conv2").get_weights()
    reads[:, :, 1] = 0
    network.get_layer("block1_conv2").set_weights([reads])
    (found,) = saliencies(network, find_groups(network))
    assert found[0] == found[1] == 0 and np.all(found[2:] > 0)


def test_a_block_that_adds_little_to_its_stream_has_channels_that_matter_little():
    network = build(NetworkSpec("resnet18", (8, 8, 1), 2, width=4), 2)
    scale, *others = network.get_layer("block2_bn2").get_weights()
    network.get_layer("block2_bn2").set_weights([scale * 0.01, *others])
    first, second = saliencies(network, find_groups(network))
    assert second.max() < 0.01 * first.min()
