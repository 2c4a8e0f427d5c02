"""Random architectures for tests of properties: the package's backbones, and random ones of a user's own."""

import dataclasses

import keras
from hypothesis import settings
from hypothesis import strategies as st

from odn_keras import Block, Convolution, NetworkSpec
from odn_keras.networks.backbones import BACKBONES, Backbone


def examples(count):
    """Settings for so many examples on TensorFlow and a third of them on the others, where each is compiled first."""
    return settings(max_examples=count if keras.backend.backend() == "tensorflow" else -(-count // 3), deadline=None)


MULTIPLES = st.sampled_from([0.5, 1, 1.5, 2, 3])
ACTIVATIONS = st.sampled_from(["relu", "relu6", None])


@st.composite
def convolutions(draw):
    common = {"kernel": draw(st.sampled_from([1, 2, 3])), "activation": draw(ACTIVATIONS)}
    common["stride"] = draw(st.sampled_from([1, 1, 1, 2]))
    if draw(st.booleans()):
        return Convolution(depthwise=True, **common)
    return Convolution(draw(MULTIPLES), **common)


@st.composite
def blocks(draw):
    several = draw(st.lists(convolutions(), min_size=1, max_size=4))
    return Block(several, draw(st.sampled_from(["project", "identity", None])), draw(ACTIVATIONS))


def own_backbones():
    stems = st.builds(Convolution, MULTIPLES, kernel=st.sampled_from([1, 3]), activation=ACTIVATIONS)
    return st.builds(Backbone, st.just("own"), st.lists(blocks(), min_size=2, max_size=4), stems)


@st.composite
def specs_and_depths(draw, *, deepest=4, exits=False, can_deepen=False):
    """A spec of a small network, and one of its depths, at most `deepest` (not its last, if it is to be deepened)."""
    spec = NetworkSpec(
        draw(st.sampled_from(sorted(BACKBONES)) | own_backbones()),
        input_shape=(draw(st.integers(5, 9)), draw(st.integers(5, 9)), draw(st.sampled_from([1, 3]))),
        num_classes=draw(st.integers(2, 5)),
        width=draw(st.integers(1, 6)),
        stem_stride=draw(st.sampled_from([1, 2])),
    )
    depth = draw(st.integers(1, min(deepest, spec.max_depth - can_deepen)))
    places = draw(st.sets(st.integers(1, depth))) if exits else ()
    return dataclasses.replace(spec, exits=tuple(places)), depth
