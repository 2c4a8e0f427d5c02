"""Length of the learning-rate cycle, in epochs: the default, and whether a cycle leaves room for a second one."""


def default_cycle(epochs: int, *, fixed_depth: bool, pruning: bool) -> int:
    """The length of the cycle where the user gives none.

    Args:
        epochs: of the training, without those that shrink widths.
        fixed_depth: True where one depth is trained and no other.
        pruning: True where channels are pruned, which takes a second cycle.

    >>> default_cycle(60, fixed_depth=False, pruning=True), default_cycle(60, fixed_depth=True, pruning=False)
    (20, 60)
    """
    if not fixed_depth:
        return -(-epochs // 3)
    return max(1, epochs // 2) if pruning else epochs


def leaves_second_cycle(cycle: int, epochs: int) -> bool:
    """True where a second cycle of the same length fits into the epochs, as pruning needs.

    >>> leaves_second_cycle(20, 60), leaves_second_cycle(40, 60)
    (True, False)
    """
    return 2 * cycle <= epochs
