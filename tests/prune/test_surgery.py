import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_specs import examples, specs_and_depths

from odn_keras import InputError, NetworkSpec, build, deepen, prune, spec_of
from odn_keras.networks.cost import params
from odn_keras.prune.pruner import _written_by


def random_network(spec, depth):
    """With random weights and statistics."""
    network = build(spec, depth, "float32")
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.weights:
            layer.set_weights([rng.normal(1 if w.ndim == 1 else 0, 0.3, w.shape) for w in layer.get_weights()])
        if isinstance(layer, keras.layers.BatchNormalization):
            *others, variance = layer.get_weights()
            layer.set_weights([*others, np.abs(variance) + 0.1])
    return network


def silence(group, channels):
    """Zeroes these channels, as pruning does; the weights that read them stay."""
    for layer in (*group.writers, *group.norms, *group.depthwise):
        for variable in _written_by(layer):
            values = np.array(keras.ops.convert_to_numpy(variable))
            values[..., channels] = 0
            variable.assign(values)


def answers(network, spec):
    images = np.random.default_rng(1).integers(0, 256, (3, *spec.input_shape)).astype("float32")
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(network(images, training=False))]


@examples(12)
@given(specs_and_depths(deepest=3, exits=True), st.data())
def test_the_compact_network_computes_the_same_and_is_what_its_spec_says(case, data):
    spec, depth = case
    network = random_network(spec, depth)
    left = []
    for group in prune.find_groups(network, streams=True):
        gone = data.draw(st.sets(st.integers(0, group.size - 1), max_size=group.size))
        silence(group, sorted(gone))
        left.append(max(1, group.size - len(gone)))
    whole = [group.size for group in prune.find_groups(network, streams=True)]
    if left == whole:
        with pytest.raises(InputError, match="no channel of the network is zero"):
            prune.compact(network)
        return
    small = prune.compact(network)
    for expected, found in zip(answers(network, spec), answers(small, spec), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert [group.size for group in prune.find_groups(small, streams=True)] == left
    assert small.output_names == network.output_names

    described = spec_of(small, spec)
    rebuilt = build(described, depth, "float32")
    rebuilt.set_weights(small.get_weights())
    for expected, found in zip(answers(small, spec), answers(rebuilt, spec), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.one_backend
def test_the_spec_of_a_whole_network_is_the_one_it_was_built_from():
    spec = NetworkSpec("resnet50", (8, 8, 1), 2, width=3)
    assert spec_of(build(spec, 4), spec) is spec


@pytest.mark.one_backend
def test_the_spec_of_a_network_keeps_what_is_said_of_blocks_to_come():
    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=8, inner=((8,), (5,), (6,)), stream=(8, 16, 20))
    found = spec_of(build(NetworkSpec("resnet18", (8, 8, 1), 10, width=8, inner=((3,),)), 1), spec)
    assert found.inner == ((3,), (5,), (6,)) and found.stream == spec.stream


def compact_network(spec):
    network = random_network(spec, 2)
    for group in prune.find_groups(network, streams=True):
        silence(group, [0])
    return prune.compact(network)


def test_a_compact_network_saves_loads_and_grows(tmp_path):
    spec = NetworkSpec("resnet18", (8, 8, 1), 3, width=4)
    small = compact_network(spec)
    small.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(answers(loaded, spec)[0], answers(small, spec)[0], atol=1e-6)

    deeper, fresh = deepen(small, spec_of(small, spec))
    assert all(name.startswith(("block3", "head")) for name in fresh)
    assert deeper.get_layer("block2_relu").output.shape[-1] == 3
    deeper.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    deeper.fit(np.zeros((4, 8, 8, 1)), np.zeros(4), verbose=0)


@pytest.mark.one_backend
def test_flash_of_a_compact_network_is_predicted_and_its_int8_file_answers_as_it_does(tmp_path, digits):
    pytest.importorskip("tensorflow")
    from odn_keras import LiteRTClassifier, export_tflite, footprint

    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=8)
    small = compact_network(spec)
    size = export_tflite(small, digits.train[0][:200], tmp_path / "small.tflite")
    assert footprint.Footprint.of(small).flash_bytes == footprint.flash_bytes(spec_of(small, spec), 2)
    assert size == pytest.approx(footprint.flash_bytes(spec_of(small, spec), 2), rel=0.02)
    images = digits.test[0][:50]
    ours = LiteRTClassifier(tmp_path / "small.tflite").predict(images)
    np.testing.assert_allclose(ours, small.predict(images.astype("float32"), verbose=0), atol=0.15)
    assert params(small) < params(build(spec, 2))
