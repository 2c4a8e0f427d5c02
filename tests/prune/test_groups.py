import keras
import pytest
from keras import layers

from odn_keras import InputError, NetworkSpec, build
from odn_keras.prune import find_groups

pytestmark = pytest.mark.one_backend  # the graph is Keras's own, whichever backend computes


def names(group):
    return [sorted(layer.name for layer in part) for part in (group.writers, group.norms, group.readers)]


def test_inner_channels_of_a_basic_block():
    (group,) = find_groups(build(NetworkSpec("resnet18", (8, 8, 1), 3, width=4), 1))
    assert names(group) == [["block1_conv1"], ["block1_bn1"], ["block1_conv2"]]
    assert group.size == 4 and not group.is_stream


def test_both_inner_layers_of_a_bottleneck_and_the_stem_before_it_that_no_addition_joins():
    groups = find_groups(build(NetworkSpec("resnet50", (8, 8, 1), 3, width=4), 1))
    assert [names(group)[0] for group in groups] == [["stem_conv"], ["block1_conv1"], ["block1_conv2"]]


def test_a_stream_is_one_group_of_all_that_add_to_it():
    network = build(NetworkSpec("resnet18", (8, 8, 1), 3, width=4, exits=(1,)), 3)
    streams = [group for group in find_groups(network, streams=True) if group.is_stream]
    assert names(streams[0]) == [
        ["block1_conv2", "block2_conv2", "stem_conv"],
        ["block1_bn2", "block2_bn2", "stem_bn"],
        ["block1_conv1", "block1_exit", "block2_conv1", "block3_conv1", "block3_shortcut_conv"],
    ]
    assert names(streams[1]) == [
        ["block3_conv2", "block3_shortcut_conv"],
        ["block3_bn2", "block3_shortcut_bn"],
        ["head"],
    ]


def other_network(between):
    """A convolution, what is given, and another one, in Keras's own layers."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    x = between(x)
    x = layers.Conv2D(5, 3)(x)
    return keras.Model(inputs, layers.Dense(2, "softmax")(layers.GlobalAveragePooling2D()(x)))


def test_any_functional_network_of_these_layers_will_do():
    assert [group.size for group in find_groups(other_network(layers.ReLU()))] == [6, 5]


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (layers.Conv2DTranspose(6, 2, name="up"), "no rule for layer 'up' of type Conv2DTranspose"),
        (layers.Conv2D(6, 3, groups=2, name="grouped"), "'grouped' of type Conv2D with groups=2"),
        (layers.Conv2D(6, 3, activation="sigmoid", name="soft"), "'soft' of type Conv2D with activation 'sigmoid'"),
        (layers.ReLU(threshold=1.0, name="late"), "'late' of type ReLU with threshold=1.0"),
        (layers.BatchNormalization(axis=1, name="rows"), "'rows' of type BatchNormalization with axis=1"),
        (layers.BatchNormalization(scale=False, name="n"), "'n' of type BatchNormalization with scale=False"),
        (layers.Rescaling(2.0, name="scale"), "'scale' of type Rescaling with a place other than the beginning"),
        (
            lambda x: layers.Add(name="sum")([x, layers.Conv2D(1, 1)(x)]),
            "'sum' of type Add with inputs of several shapes",
        ),
        (lambda x: x * 2.0, "no rule for layer 'multiply"),
    ],
)
def test_a_layer_without_a_rule_is_named(between, message):
    with pytest.raises(InputError, match=message):
        find_groups(other_network(between))


def test_a_layer_used_twice_and_a_sequential_model_are_refused():
    again = layers.Conv2D(6, 1, name="again")
    with pytest.raises(InputError, match="a layer used twice"):
        find_groups(other_network(lambda x: again(again(x))))
    with pytest.raises(InputError, match=r"functional keras.Model, got a Sequential"):
        find_groups(keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3)]))
