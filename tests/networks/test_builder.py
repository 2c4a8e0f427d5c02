import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_specs import examples, specs_and_depths

from odn_keras import InputError, NetworkSpec, at_exit, build, deepen, load
from odn_keras.networks.builder import depth_of, set_frozen, with_dtype


def outputs(network, images):
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(network(images, training=False))]


def features(network, depth, images):
    """Output of the block at `depth`."""
    last = [layer for layer in network.layers if layer.name.startswith(f"block{depth}_") and "exit" not in layer.name][
        -1
    ]
    inner = keras.Model(network.input, last.output)
    return keras.ops.convert_to_numpy(inner(images, training=False))


def prefix_weights(network, depth):
    names = [f"block{index}_" for index in range(1, depth + 1)] + ["stem_"]
    return {
        weight.path: keras.ops.convert_to_numpy(weight)
        for layer in network.layers
        if layer.name.startswith(tuple(names))
        for weight in layer.weights
    }


def scramble(network):
    """Random weights everywhere: fresh BatchNorm statistics would hide a transfer that forgets them."""
    rng = np.random.default_rng(0)
    network.set_weights([rng.uniform(0.1, 1.0, w.shape).astype("float32") for w in network.get_weights()])


@examples(15)
@given(specs_and_depths(deepest=16, can_deepen=True))
def test_deepening_keeps_the_prefix_bit_for_bit_and_names_what_is_fresh(case):
    spec, depth = case
    network = build(spec, depth)
    scramble(network)
    before = network.get_weights()
    deeper, fresh = deepen(network, spec)
    images = np.random.default_rng(1).integers(0, 256, (3, *spec.input_shape)).astype("float32")

    assert depth_of(deeper) == depth + 1
    np.testing.assert_array_equal(features(deeper, depth, images), features(network, depth, images))
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))
    new_block = {layer.name for layer in deeper.layers if layer.name.startswith(f"block{depth + 1}_") and layer.weights}
    wider = network.get_layer("head").kernel.shape != deeper.get_layer("head").kernel.shape
    assert set(fresh) == new_block | ({"head"} if wider else set())
    if not wider:
        for old, new in zip(
            network.get_layer("head").get_weights(), deeper.get_layer("head").get_weights(), strict=True
        ):
            np.testing.assert_array_equal(old, new)


@examples(10)
@given(specs_and_depths(deepest=16, can_deepen=True), st.floats(0, 1))
def test_deepening_carries_over_as_large_a_share_of_the_weights_as_asked_for(case, share):
    spec, depth = case
    network = build(spec, depth)
    scramble(network)
    keras.utils.set_random_seed(1)
    begun, _ = deepen(network, spec, carried_share=0.0)
    keras.utils.set_random_seed(1)
    deeper, fresh = deepen(network, spec, carried_share=share)
    for layer in deeper.layers:
        if layer.name in fresh or not layer.weights:
            continue
        old, new = network.get_layer(layer.name).get_weights(), begun.get_layer(layer.name).get_weights()
        for weight, carried, started, now in zip(layer.weights, old, new, layer.get_weights(), strict=True):
            kept = 1.0 if "moving" in weight.name else share
            np.testing.assert_allclose(now, kept * carried + (1 - kept) * started, rtol=1e-5, atol=1e-6)


def test_the_exit_at_the_old_end_has_the_same_share_of_the_head_that_was_there():
    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=2, exits=(1,))
    network = build(spec, 1)
    scramble(network)
    deeper, fresh = deepen(network, spec, carried_share=0.25)
    head, exit_layer = network.get_layer("head"), deeper.get_layer("block1_exit")
    assert "block1_exit" not in fresh
    (kernel, bias), (old_kernel, old_bias) = exit_layer.get_weights(), head.get_weights()
    np.testing.assert_allclose(bias, 0.25 * old_bias, rtol=1e-5)  # a fresh one is 0
    assert not np.allclose(kernel, old_kernel)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=2)
    with pytest.raises(InputError, match="carried_share must be from 0 to 1, got"):
        deepen(build(spec, 1), spec, carried_share=share)


@examples(6)
@given(specs_and_depths(deepest=5, can_deepen=True))
def test_a_frozen_prefix_never_moves_and_its_batchnorm_ignores_the_batch(case):
    spec, depth = case
    network, _ = deepen(build(spec, depth), spec)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, *spec.input_shape)).astype("float32")
    labels = rng.integers(0, spec.num_classes, 8)
    before = prefix_weights(network, depth)
    head_before = network.get_layer("head").get_weights()[1].copy()
    network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    network.fit(images, labels, epochs=2, batch_size=4, verbose=0)
    after = prefix_weights(network, depth)
    assert before.keys() == after.keys()
    for path, value in before.items():
        np.testing.assert_array_equal(value, after[path], err_msg=path)
    assert not np.array_equal(head_before, network.get_layer("head").get_weights()[1])


def test_thawed_prefix_moves():
    spec = NetworkSpec("resnet18", (8, 8, 1), 3, width=2)
    network, _ = deepen(build(spec, 1), spec, freeze_prefix=False)
    assert all(layer.trainable for layer in network.layers)
    set_frozen(network, 1)
    set_frozen(network, None)
    assert all(layer.trainable for layer in network.layers)


def test_a_deepened_network_saves_and_loads_like_any_other(tmp_path):
    spec = NetworkSpec("resnet18", (8, 8, 3), 3, width=2)
    network, _ = deepen(build(spec, 2), spec)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), network.predict(images, verbose=0))


def test_the_full_backbone_cannot_be_deepened():
    spec = NetworkSpec("resnet18", (8, 8, 1), 2, width=1)
    with pytest.raises(InputError, match="got 9"):
        deepen(build(spec, 8), spec)


SMALL = NetworkSpec("resnet18", (8, 8, 1), 3, width=2)


@pytest.mark.parametrize("in_float32", [with_dtype, lambda network, dtype: at_exit(network, SMALL, 2, dtype=dtype)])
def test_a_copy_of_another_dtype_keeps_the_weights(in_float32):
    network = build(SMALL, 2, dtype="mixed_bfloat16")
    copy = in_float32(network, "float32")
    assert copy.get_layer("stem_conv").compute_dtype == "float32"
    for old, new in zip(network.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_outputs_are_probabilities_in_float32():
    network = build(NetworkSpec("resnet50", (8, 8, 3), 4, width=1), 3, dtype="mixed_bfloat16")
    outputs = network.predict(np.full((2, 8, 8, 3), 200.0), verbose=0)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs.sum(axis=-1), 1, rtol=1e-5)


def test_a_saved_network_loads_and_a_damaged_file_is_one_line(tmp_path):
    network = build(NetworkSpec("resnet18", (8, 8, 1), 3, width=2), 1)
    network.save(tmp_path / "model.keras")
    for ours, theirs in zip(load(tmp_path / "model.keras").get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    content = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(content[:-200])
    with pytest.raises(InputError, match=r"cut\.keras is not a readable \.keras file"):
        load(tmp_path / "cut.keras")
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "none.keras")


def test_code_in_a_keras_file_is_not_run(tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(tmp_path / "code.keras")
    with pytest.raises(InputError, match=r"code\.keras is not"):
        load(tmp_path / "code.keras")


@examples(8)
@given(specs_and_depths(deepest=4, can_deepen=True), st.data())
def test_exits_answer_as_before_while_the_network_deepens_and_can_be_cut_out(case, data):
    spec, depth = case
    spec = dataclasses.replace(spec, exits=tuple(data.draw(st.sets(st.integers(1, spec.max_depth)))))
    network = build(spec, depth)
    scramble(network)
    deeper, fresh = deepen(network, spec)
    images = np.random.default_rng(1).integers(0, 256, (3, *spec.input_shape)).astype("float32")
    before, after = outputs(network, images), outputs(deeper, images)
    kept = [place for place in (*spec.exits_before(depth), depth) if place in spec.exits_before(depth + 1)]

    assert len(after) == len(kept) + 1
    assert not any("exit" in name for name in fresh)
    for place, output in zip((*spec.exits_before(depth), depth), before, strict=True):
        if place in kept:
            np.testing.assert_array_equal(after[kept.index(place)], output)
        np.testing.assert_allclose(outputs(at_exit(network, spec, place), images)[0], output, atol=1e-6)
    frozen = {layer.name for layer in deeper.layers if layer.weights and not layer.trainable}
    assert {f"block{place}_exit" for place in kept} <= frozen


def test_a_depth_without_exit_cannot_be_cut_out():
    spec = NetworkSpec("resnet18", (8, 8, 1), 2, width=2, exits=(1, 3))
    with pytest.raises(InputError, match="exits at 1, 4, none at 3"):
        at_exit(build(dataclasses.replace(spec, exits=(1,)), 4), dataclasses.replace(spec, exits=(1,)), 3)
