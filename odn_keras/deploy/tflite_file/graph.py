"""The graph of a `.tflite` file: which operators a tensor needs, and files cut out of it."""

from collections.abc import Iterable, Sequence

from odn_keras.deploy.tflite_file.flatbuffer import read_model, strip_tensor_names, write_model

NAMES = (b"probabilities", b"features")  # of a cut file's outputs, in order


class Graph:
    """Operators and tensors of a `.tflite` file, by their numbers in the file.

    Args:
        content: of the file, which has one graph.

    Attributes:
        model: the file as objects of its schema; it must not be changed.
        inputs, outputs: numbers of the graph's input and output tensors.

    Raises:
        InputError: where the content is no `.tflite` file of one graph.
    """

    def __init__(self, content: bytes):
        self._content = content
        self.model = read_model(content)
        (self._graph,) = self.model.subgraphs
        self._operators = self._graph.operators
        self._maker = {int(tensor): number for number, op in enumerate(self._operators) for tensor in op.outputs}
        self.inputs = [int(tensor) for tensor in self._graph.inputs]
        self.outputs = [int(tensor) for tensor in self._graph.outputs]

    def maker(self, tensor: int) -> int | None:
        """The operator that writes a tensor; `None` for inputs and constants."""
        return self._maker.get(tensor)

    def reads(self, operator: int) -> list[int]:
        """The tensors that an operator reads; -1 for an optional one that is absent."""
        return [int(tensor) for tensor in self._operators[operator].inputs]

    def writes(self, operator: int) -> list[int]:
        """The tensors that an operator writes."""
        return [int(tensor) for tensor in self._operators[operator].outputs]

    def kind(self, operator: int) -> int:
        """The kind of an operator, a `BuiltinOperator` of the schema."""
        code = self.model.operatorCodes[self._operators[operator].opcodeIndex]
        return max(code.builtinCode, code.deprecatedBuiltinCode)  # files of old converters have only the second

    def name(self, operator: int) -> str:
        """The kind of an operator by its name in the schema, such as `CONV_2D`."""
        from ai_edge_litert.schema_py_generated import BuiltinOperator

        names = {number: name for name, number in vars(BuiltinOperator).items() if isinstance(number, int)}
        return names[self.kind(operator)]

    def options(self, operator: int):
        """The options of an operator, an object of the schema; `None` where it has none."""
        return self._operators[operator].builtinOptions

    @property
    def operators(self) -> range:
        """The numbers of all operators."""
        return range(len(self._operators))

    def of_kind(self, kind: int) -> list[int]:
        """The operators of a kind, in order."""
        return [operator for operator in self.operators if self.kind(operator) == kind]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape of a tensor, batch included."""
        return tuple(int(size) for size in self._graph.tensors[tensor].shape)

    def type(self, tensor: int) -> int:
        """The type of a tensor, a `TensorType` of the schema."""
        return self._graph.tensors[tensor].type

    def quantization(self, tensor: int) -> tuple[float, int] | None:
        """Scale and zero point of a tensor; `None` for one that is not quantised."""
        found = self._graph.tensors[tensor].quantization
        if found is None or found.scale is None or not len(found.scale):
            return None
        return float(found.scale[0]), int(found.zeroPoint[0])

    def ancestors(self, tensor: int) -> set[int]:
        """The operators that must run before a tensor has its values."""
        found, pending = set[int](), [tensor]
        while pending:
            operator = self.maker(pending.pop())
            if operator is not None and operator not in found:
                found.add(operator)
                pending += self.reads(operator)
        return found

    def cut(self, operators: Iterable[int], entry: int, outputs: Sequence[int]) -> bytes:
        """A file of some of the operators, in the order of this one, and the tensors that they read and write.

        Args:
            operators: the ones to keep.
            entry: the tensor that becomes the file's input.
            outputs: the tensors that become its outputs: probabilities first, then features.
        """
        model = read_model(self._content)
        (graph,) = model.subgraphs
        graph.operators = [graph.operators[number] for number in sorted(operators)]
        used = {int(t) for op in graph.operators for t in (*op.inputs, *op.outputs) if t >= 0} | {entry}
        renumbered = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
        graph.tensors = [graph.tensors[old] for old in sorted(used)]
        graph.inputs, graph.outputs = [renumbered[entry]], [renumbered[output] for output in outputs]
        for operator in graph.operators:
            operator.inputs = [renumbered[int(tensor)] for tensor in operator.inputs]
            operator.outputs = [renumbered[int(tensor)] for tensor in operator.outputs]
        graph.tensors[graph.inputs[0]].name = b"image"
        for tensor, name in zip(graph.outputs, NAMES, strict=False):
            graph.tensors[tensor].name = name
        _drop_unused_buffers(model)
        model.signatureDefs = []
        return strip_tensor_names(write_model(model))


def _drop_unused_buffers(model) -> None:
    users = (*model.subgraphs[0].tensors, *model.metadata)
    kept = sorted({0} | {user.buffer for user in users})  # buffer 0 stands for none
    model.buffers = [model.buffers[old] for old in kept]
    for user in users:
        user.buffer = kept.index(user.buffer)
