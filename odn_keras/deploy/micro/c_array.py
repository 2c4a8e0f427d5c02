"""An int8 `.tflite` file -> C++ source, as `model.cc` and `model.h`, to compile into a microcontroller's program."""

import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from odn_keras.data.resizing import CROP, PAD, STRETCH
from odn_keras.deploy.feeding import Quantization
from odn_keras.deploy.micro.cmsis_nn import arena_with_cmsis_nn
from odn_keras.deploy.micro.operators import INT8_ALONE, method, operators_of
from odn_keras.deploy.runtimes import LiteRTClassifier
from odn_keras.deploy.tflite_file.graph import Graph
from odn_keras.deploy.tflite_file.reject_metadata import reject_of
from odn_keras.deploy.tflite_file.resize_metadata import resize_of
from odn_keras.errors import InputError
from odn_keras.files import replacing

BYTES_PER_LINE = 20

HEADER = """\
// Written by odn_keras from {file}; not to be edited.
#ifndef ODN_{guard}_H_
#define ODN_{guard}_H_

#include <cstddef>

namespace odn_{name} {{

{facts}constexpr std::size_t kModelBytes = {model_bytes};
extern const unsigned char kModel[kModelBytes];

{declarations}// The operators of the model, for TFLite Micro's MicroMutableOpResolver: ANY(Method) those whose kernels
// take every type, INT8(Method, NAME) those that have kernels for int8 alone too, in less flash.
constexpr unsigned kNumOperators = {num_operators};
#define ODN_{guard}_OPERATORS(ANY, INT8) \\
{operators}

}}  // namespace odn_{name}

#endif  // ODN_{guard}_H_
"""

SOURCE = """\
// Written by odn_keras from {file}; not to be edited.
#include "{name}.h"

namespace odn_{name} {{

alignas(16) const unsigned char kModel[kModelBytes] = {{
{model}
}};

{definitions}}}  // namespace odn_{name}
"""

ARENA = """\
// What TFLite Micro needs of working memory: with its portable kernels, measured on a 64-bit computer (a 32-bit
// processor needs about 1 KB less), and with those of CMSIS-NN on a Cortex-M, predicted.
constexpr std::size_t kArenaBytes = {arena_bytes};
constexpr std::size_t kArenaBytesCmsisNn = {cmsis_nn_bytes};

"""

RESIZED = {STRETCH: "stretched", CROP: "cropped to the middle of", PAD: "padded with black"}

CLASSIFIER = """\
// An image is kHeight rows of kWidth pixels of kChannels values; training {resized} what had another shape.
constexpr int kHeight = {height};
constexpr int kWidth = {width};
constexpr int kChannels = {channels};
constexpr int kImageBytes = kHeight * kWidth * kChannels;
constexpr int kNumClasses = {classes};

// real = scale * (quantised - zero point)
constexpr float kInputScale = {input_scale};
constexpr int kInputZeroPoint = {input_zero_point};
constexpr float kOutputScale = {output_scale};
constexpr int kOutputZeroPoint = {output_zero_point};

// A best score below this is no answer: the image is taken for none of the classes.
constexpr int kLeastScore = {least_score};

"""

LABELS_DECLARED = "extern const char* const kLabels[kNumClasses];\n\n"
LABELS = """\
const char* const kLabels[kNumClasses] = {{
{labels}
}};

"""


def write_c_array(
    tflite_path: str | os.PathLike[str], labels: Sequence[str], folder: str | os.PathLike[str], *, arena_bytes: int
) -> None:
    """Writes `model.h` and `model.cc`: the file's bytes and all that a program needs to know of them, in C++11.

    Everything is constant, so that a linker keeps it in flash, and is in the namespace `odn_model`.

    Args:
        tflite_path: an int8 `.tflite` file with one image input and one output.
        labels: the name of each class, in the order of the outputs. They are written as UTF-8.
        folder: where the two files go; created if missing.
        arena_bytes: the working memory that TFLite Micro needs for the file, as measured.

    Raises:
        InputError: where LiteRT is not installed, the file is no int8 image classifier, the labels do not match its
            outputs or cannot be C strings, or `arena_bytes` is not positive.
    """
    if arena_bytes < 1:
        raise InputError(f"arena_bytes must be positive, got {arena_bytes}")
    tflite_path = pathlib.Path(tflite_path).expanduser()
    classifier = LiteRTClassifier(tflite_path)
    if classifier.dtypes != [np.int8, np.int8]:
        found = " and ".join(dtype.__name__ for dtype in classifier.dtypes)
        raise InputError(f"a microcontroller's program wants int8 input and output, {tflite_path} has {found}")
    classes = classifier.classes
    if len(labels) != classes:
        raise InputError(f"{tflite_path} has {classes} outputs, got {len(labels)} labels")
    height, width, channels = classifier.input_shape
    facts = CLASSIFIER.format(
        resized=RESIZED[resize_of(tflite_path)],
        height=height,
        width=width,
        channels=channels,
        classes=classes,
        input_scale=_float(classifier.input.scale),
        input_zero_point=classifier.input.zero_point,
        output_scale=_float(classifier.output.scale),
        output_zero_point=classifier.output.zero_point,
        least_score=_least_score(tflite_path, classifier.output),
    )
    defined = LABELS.format(labels=",\n".join(f"    {c_string(label)}" for label in labels))
    _write(
        tflite_path,
        "model",
        folder,
        arena_bytes=arena_bytes,
        facts=facts,
        declarations=LABELS_DECLARED,
        definitions=defined,
    )


def _least_score(path: pathlib.Path, output: Quantization) -> int:
    """The least quantised score that is an answer: the smallest int8 number where every answer is given."""
    reject = reject_of(path)
    return -128 if reject is None else math.ceil(reject.least_confidence / output.scale) + output.zero_point


def write_stage_array(
    tflite_path: str | os.PathLike[str], name: str, folder: str | os.PathLike[str], *, arena_bytes: int | None
) -> None:
    """Writes a stage of a routed network (see `odn_keras.deploy.chain.exit_chain`) as `NAME.h` and `NAME.cc`.

    They have its bytes and, where it was measured, its arena; `routing.h` has all else.

    Args:
        tflite_path: of the stage.
        name: of the files; they are in the namespace `odn_NAME`.
        folder: where the two files go; created if missing.
        arena_bytes: the working memory that TFLite Micro needs for the stage; `None` where it was not measured.
    """
    _write(tflite_path, name, folder, arena_bytes=arena_bytes)


def _write(
    tflite_path: str | os.PathLike[str],
    name: str,
    folder: str | os.PathLike[str],
    arena_bytes: int | None,
    *,
    facts: str = "",
    declarations: str = "",
    definitions: str = "",
) -> None:
    tflite_path, folder = pathlib.Path(tflite_path).expanduser(), pathlib.Path(folder).expanduser()
    content = tflite_path.read_bytes()
    file = _ascii(tflite_path.name)
    operators = operators_of(Graph(content))
    arena = ""
    if arena_bytes is not None:
        arena = ARENA.format(arena_bytes=arena_bytes, cmsis_nn_bytes=arena_with_cmsis_nn(tflite_path, arena_bytes))
    header = HEADER.format(
        file=file,
        guard=name.upper(),
        name=name,
        facts=facts + arena,
        model_bytes=len(content),
        declarations=declarations,
        num_operators=len(operators),
        operators=" \\\n".join(f"  {_registered(operator)}" for operator in operators),
    )
    source = SOURCE.format(file=file, name=name, model=_array(content), definitions=definitions)
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".cc", source), (".h", header)):
        with replacing(folder / f"{name}{suffix}") as temporary:
            temporary.write_text(text, encoding="ascii", newline="\n")


def _registered(operator: str) -> str:
    if operator in INT8_ALONE:
        return f"INT8({method(operator)}, {operator})"
    return f"ANY({method(operator)})"


def c_string(text: str) -> str:
    r"""A C string literal of the text's UTF-8 bytes, itself in printable ASCII.

    Bytes that are not plain are written as three octal digits, which end where they should (`\x` takes every hex digit
    that follows). A question mark is one of them: two of them could begin a trigraph. Bytes that Python could not
    decode (as in the name of a folder) come out as they were.

    Raises:
        InputError: for text with a NUL, where a C string would end, or that UTF-8 cannot encode.

    >>> print(c_string('caf\xe9 "1"?'))
    "caf\303\251 \"1\"\077"
    """
    try:
        encoded = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InputError(f"the label {text!r} cannot be written as UTF-8: rename it") from error
    if 0 in encoded:
        raise InputError(f"the label {text!r} contains a NUL character, where a C string ends: rename it")
    return '"' + "".join(map(_escaped, encoded)) + '"'


def _escaped(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 32 <= byte < 127 and byte != ord("?") else f"\\{byte:03o}"


def _ascii(name: str) -> str:
    """A file's name fit for a comment: no line break, and no backslash that would join it to the next line."""
    return "".join(c if c.isascii() and c.isprintable() and c not in "\\?" else "_" for c in name)


def _float(value: float) -> str:
    return f"{value:.8e}f"  # nine digits distinguish every float32 from its neighbours


def _array(content: bytes) -> str:
    lines = (content[i : i + BYTES_PER_LINE] for i in range(0, len(content), BYTES_PER_LINE))
    return "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in line) for line in lines)
