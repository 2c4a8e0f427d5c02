import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_specs import own_backbones

from odn_keras import InputError, NetworkSpec
from odn_keras.devices.choices import Choice, Choices
from odn_keras.devices.latency_table import LatencyTable, parts
from odn_keras.networks.backbones import BACKBONES
from odn_keras.networks.budget import Budget
from odn_keras.networks.elastic import FRACTIONS
from odn_keras.networks.kernels import KERNELS


@st.composite
def choices_of_specs(draw):
    """A spec, its networks with random latencies of their parts, and one of them."""
    backbone = draw(st.sampled_from(sorted(BACKBONES)) | own_backbones())
    spec = NetworkSpec(
        backbone,
        (draw(st.integers(5, 33)), draw(st.integers(5, 33)), draw(st.sampled_from([1, 3]))),
        num_classes=draw(st.integers(2, 30)),
        width=draw(st.integers(1, 16)),
        stem_stride=draw(st.sampled_from([1, 2])),
        stream=(draw(st.integers(1, 40)),) if draw(st.booleans()) else (),
    )
    depth = draw(st.integers(1, min(6, spec.max_depth)))
    layers = Choices(spec, FRACTIONS).layers(depth)
    choice = Choice(depth, tuple(draw(st.lists(st.sampled_from(FRACTIONS), min_size=layers, max_size=layers))))
    return spec, choice, draw(st.integers(0, 100))


@settings(max_examples=100, deadline=None)
@given(choices_of_specs())
def test_costs_of_the_blocks_come_to_the_sizes_of_the_network(case):
    spec, choice, seed = case
    rng = np.random.default_rng(seed)
    plain = Choices(spec, FRACTIONS)
    varied = [
        part for n in range(1, choice.depth + 1) for one in plain.varied(n) for part in parts(plain.spec_of(one), n)
    ]
    milliseconds = {part: rng.uniform(0, 9) for part in (*varied, *parts(spec, choice.depth))}
    latencies = LatencyTable("r", "m", None, rng.uniform(), rng.uniform(0.5, 2), milliseconds)
    networks = Choices(spec, FRACTIONS, latencies, Budget(kernels=KERNELS[seed % 2]))
    ends = [networks.layers(number) for number in range(choice.depth + 1)]
    taken = [
        networks.options(number).index(choice.fractions[ends[number - 1] : ends[number]])
        for number in range(1, choice.depth + 1)
    ]
    assert networks.of_options(choice.depth, taken) == choice
    for name, size in networks.sizes(choice).items():
        total = 0
        for cost in networks.costs(name, choice.depth):
            own = cost.start
            for options, option in zip(cost.options, taken, strict=True):
                own = max(own, options[option]) if cost.peak else own + options[option]
            total += own
        if name == "latency_ms":
            assert networks.most(name, size) == pytest.approx(total, rel=1e-12)
        elif name == "arena_bytes":
            assert total <= size  # the plan of the memory may miss the least there can be; `best` plans what it finds
        else:
            assert total == size


def test_sums_follow_the_order_of_the_inner_layers():
    networks = Choices(NetworkSpec("resnet50", (8, 8, 1), 2, width=4), (0.5, 1.0))
    first, second = networks.sums(2, lambda layer, fraction: 10.0**layer * fraction)
    assert first.tolist() == [5.5, 10.5, 6.0, 11.0] and second.tolist() == [550, 1050, 600, 1100]


def test_a_limit_of_latency_without_a_table_is_refused():
    with pytest.raises(InputError, match="needs a table of latencies"):
        Choices(NetworkSpec("resnet18", (8, 8, 1), 2, width=4), FRACTIONS).costs("latency_ms", 1)
