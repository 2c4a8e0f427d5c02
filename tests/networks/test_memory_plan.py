from hypothesis import given
from hypothesis import strategies as st

from odn_keras.networks.memory_plan import ALIGNMENT, Tensor, arena_bytes, least_bytes, lifetimes, plan

TENSORS = st.lists(
    st.builds(lambda size, first, more: Tensor(size, first, first + more), *map(st.integers, (1, 0, 0), (9999, 20, 8))),
    max_size=25,
)


def test_no_two_tensors_that_live_together_overlap():
    @given(TENSORS)
    def holds(tensors):
        offsets = plan(tensors)
        assert all(offset >= 0 and offset % ALIGNMENT == 0 for offset in offsets)
        for number, (one, begin) in enumerate(zip(tensors, offsets, strict=True)):
            for other, start in list(zip(tensors, offsets, strict=True))[:number]:
                if one.first <= other.last and other.first <= one.last:
                    assert begin + one.size <= start or start + other.size <= begin
        least = least_bytes(tensors)
        assert least <= arena_bytes(tensors, offsets) <= sum(tensor.aligned_size for tensor in tensors)

    holds()


def test_a_chain_of_residual_blocks_needs_no_more_than_lives_at_once():
    operators, x = [], 0
    for block in range(6):
        operators += [([x], [3 * block + 1]), ([3 * block + 1], [3 * block + 2]), ([3 * block + 2, x], [3 * block + 3])]
        x = 3 * block + 3
    when = lifetimes(operators, [0], [x])
    tensors = [Tensor(50_176, *when[index]) for index in sorted(when)]
    assert arena_bytes(tensors, plan(tensors)) == least_bytes(tensors) == 3 * 50_176
