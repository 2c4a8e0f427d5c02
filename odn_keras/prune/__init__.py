"""One-shot train and prune: channels that a network can do without fade to zero while it is trained, and are left out.

    groups.py     which channels can only be removed together, found from the network's graph
    saliency.py   how much each of them contributes
    pruner.py     which go, and when: a schedule that drives them to exact zero
    callback.py   `ChannelPruning`, for `fit`
    surgery.py    the smaller network without them, which computes the same

Source of the idea: Only Train Once (arXiv 2107.07467) and its successors, which find such groups in PyTorch and drive
them to zero with optimizers of their own. Saliency, schedule and surgery are ours, and leave the optimizer alone.
"""

from odn_keras.prune.callback import ChannelPruning
from odn_keras.prune.groups import ChannelGroup, find_groups
from odn_keras.prune.saliency import saliencies
from odn_keras.prune.surgery import compact

__all__ = ["ChannelGroup", "ChannelPruning", "compact", "find_groups", "saliencies"]
