"""The operators of a file, as TensorFlow Lite Micro's `MicroMutableOpResolver` names them."""

from odn_keras.deploy.tflite_file.graph import Graph
from odn_keras.errors import InputError

# Operators whose kernels exist for int8 alone as well, in less flash: `Register_CONV_2D_INT8()` and the like.
INT8_ALONE = {
    "ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "SOFTMAX",
}  # fmt: skip
# Methods that are not named as the operator is, each word with a capital.
METHODS = {"CUMSUM": "CumSum", "PADV2": "PadV2", "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM"}


def operators_of(graph: Graph) -> list[str]:
    """The kinds of operators of a file, by their names in TFLite's schema, each once, in the order of their first use.

    Raises:
        InputError: for a custom operator.
    """
    found = list(dict.fromkeys(map(graph.name, graph.operators)))
    if "CUSTOM" in found:
        raise InputError("the file has a custom operator, which TFLite Micro does not know")
    return found


def method(operator: str) -> str:
    """What follows `Add` in the method that registers an operator.

    >>> method("DEPTHWISE_CONV_2D"), method("SOFTMAX"), method("PADV2")
    ('DepthwiseConv2D', 'Softmax', 'PadV2')
    """
    words = (word if word[0].isdigit() else word.capitalize() for word in operator.split("_"))
    return METHODS.get(operator) or "".join(words)
