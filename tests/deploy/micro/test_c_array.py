import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from odn_keras import InputError, LiteRTClassifier
from odn_keras.deploy.micro.c_array import c_string, write_c_array

pytest.importorskip("ai_edge_litert")

DIGITS = pathlib.Path(__file__).parents[3] / "tflite_models" / "digits.tflite"
HOSTILE = [
    "",
    "café ☕",
    'a "b"\\',
    "what??/??)?",
    "line\nbreak\ttab\r",
    "\x01\x7f\x80",
    "1\n2",
    "%s%n",
    "\udcff",
    "🦊" * 50,
]
COMPILE = ["g++", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wtrigraphs"]

needs_gcc = pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")

PRINT_ALL = r"""
#include "model.h"
#include <cstdint>
#include <cstdio>
int main() {
  using namespace odn_model;
  std::printf("%d %d %d %d %.9g %d %.9g %d %zu %d%c", kHeight, kWidth, kChannels, kNumClasses, kInputScale,
              kInputZeroPoint, kOutputScale, kOutputZeroPoint, kArenaBytes,
              static_cast<int>(reinterpret_cast<std::uintptr_t>(kModel) % 16), 0);
  for (const char* label : kLabels) std::printf("%s%c", label, 0);
  std::fwrite(kModel, 1, kModelBytes, stdout);
}
"""


def run_cpp(folder, source, standard="c++11", sources=("model.cc",)):
    (folder / "print.cc").write_text(source)
    subprocess.run([*COMPILE, f"-std={standard}", "-o", "print", "print.cc", *sources], cwd=folder, check=True)
    return subprocess.run(["./print"], cwd=folder, check=True, capture_output=True).stdout


@needs_gcc
@pytest.mark.parametrize("standard", ["c++11", "c++20"])  # trigraphs exist in the first, not in the second
def test_a_compiled_program_knows_the_file_and_all_of_it(tmp_path, standard):
    write_c_array(DIGITS, HOSTILE, tmp_path, arena_bytes=54_321)
    numbers, *labels, model = run_cpp(tmp_path, PRINT_ALL, standard).split(b"\0", 11)
    assert model == DIGITS.read_bytes()
    assert [label.decode("utf-8", "surrogateescape") for label in labels] == HOSTILE
    file = LiteRTClassifier(DIGITS)
    expected = [8, 8, 1, 10, file.input.scale, file.input.zero_point, file.output.scale, file.output.zero_point]
    assert [np.float32(number) for number in numbers.split()] == [np.float32(n) for n in [*expected, 54_321, 0]]


@needs_gcc
def test_the_header_names_each_operator_of_the_model_once(tmp_path):
    write_c_array(DIGITS, list("0123456789"), tmp_path, arena_bytes=16_160)
    source = """
#include "model.h"
#include <cstdio>
#define ANY(Method) std::puts(#Method);
#define INT8(Method, NAME) std::puts(#Method " " #NAME);
int main() {
  ODN_MODEL_OPERATORS(ANY, INT8)
  std::printf("%u %zu", odn_model::kNumOperators, odn_model::kArenaBytesCmsisNn);
}
"""
    operators = ["Conv2D CONV_2D", "Add ADD", "Mean", "FullyConnected FULLY_CONNECTED", "Softmax SOFTMAX"]
    assert run_cpp(tmp_path, source).decode().split("\n") == [*operators, "5 17744"]


@needs_gcc
def test_the_header_may_be_included_twice_and_in_several_files(tmp_path):
    write_c_array(DIGITS, list("0123456789"), tmp_path, arena_bytes=1)
    (tmp_path / "other.cc").write_text(
        '#include "model.h"\n#include "model.h"\nint other() { return odn_model::kWidth; }'
    )
    source = '#include "model.h"\nint other();\nint main() { return other() - odn_model::kWidth; }'
    run_cpp(tmp_path, source, sources=("model.cc", "other.cc"))


@needs_gcc
@settings(max_examples=5, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=100, max_size=100))
@example(["??=", "\\x41", "\x1b[0m", '"; #error', "\u2028"])
def test_any_text_comes_back_from_the_compiler(tmp_path_factory, texts):
    literals = ",\n".join(map(c_string, texts))
    source = "#include <cstdio>\nconst char* const all[] = {%s};\n"
    source += 'int main() { for (auto text : all) std::printf("%%s%%c", text, 0); }'
    printed = run_cpp(tmp_path_factory.mktemp("text"), source % literals, sources=())
    assert printed.decode().split("\0")[:-1] == texts


@given(st.text())
def test_a_label_is_plain_ascii_on_one_line_or_refused(text):
    try:
        literal = c_string(text)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert re.fullmatch(r'"([^"\\?\x00-\x1f\x7f-\U0010ffff]|\\["\\]|\\[0-3][0-7]{2})*"', literal)


@needs_gcc
def test_the_files_name_cannot_break_out_of_its_comment(tmp_path):
    hostile = tmp_path / "a\n#error ??\u2028\\"
    shutil.copy(DIGITS, hostile)
    write_c_array(hostile, HOSTILE, tmp_path, arena_bytes=1)
    run_cpp(tmp_path, PRINT_ALL)


@pytest.mark.parametrize(
    ("labels", "arena_bytes", "message"),
    [
        (["a"] * 9, 1, "10 outputs, got 9 labels"),
        (["a"] * 11, 1, "10 outputs, got 11 labels"),
        (["a\0"] * 10, 1, "NUL"),
        (["\ud800"] * 10, 1, "UTF-8"),
        (["a"] * 10, 0, "positive, got 0"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_left(tmp_path, labels, arena_bytes, message):
    with pytest.raises(InputError, match=message) as caught:
        write_c_array(DIGITS, labels, tmp_path / "out", arena_bytes=arena_bytes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no flatbuffer" * 100, DIGITS.read_bytes()[:40_000]])
def test_a_broken_file_is_refused(tmp_path, content):
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.tflite"):
        write_c_array(tmp_path / "model.tflite", list("0123456789"), tmp_path / "out", arena_bytes=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("choice", [{"quantize": "none"}, {"integer_type": "uint8"}])
def test_a_file_of_other_numbers_is_refused(tmp_path, choice):
    pytest.importorskip("tensorflow")
    from odn_keras import NetworkSpec, build, export_tflite

    network = build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1)
    export_tflite(network, np.zeros((100, 8, 8, 1), np.uint8), tmp_path / "model.tflite", **choice)
    with pytest.raises(InputError, match="int8"):
        write_c_array(tmp_path / "model.tflite", ["a", "b"], tmp_path, arena_bytes=1)


def test_a_file_that_takes_no_image_is_refused(tmp_path):
    tf = pytest.importorskip("tensorflow")
    import keras

    inputs = keras.Input(batch_shape=(1, 6))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, keras.layers.Dense(2)(inputs)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.full((1, 6), n, np.float32)] for n in range(2))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    with pytest.raises(InputError, match="no image classifier"):
        write_c_array(tmp_path / "model.tflite", ["a", "b"], tmp_path, arena_bytes=1)


@pytest.mark.skipif(not shutil.which("arm-none-eabi-g++"), reason="there is no arm-none-eabi-g++")
@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m4", "cortex-m55"])
def test_on_a_cortex_m_the_model_takes_flash_and_no_memory(tmp_path, cpu):
    write_c_array(DIGITS, list("0123456789"), tmp_path, arena_bytes=1)
    compile_ = [
        "arm-none-eabi-g++",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-std=c++11",
        "-mthumb",
        f"-mcpu={cpu}",
        "-Os",
        "-c",
    ]
    subprocess.run([*compile_, "model.cc"], cwd=tmp_path, check=True)
    report = subprocess.run(
        ["arm-none-eabi-size", "-A", "model.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    sizes = {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", report, re.MULTILINE)}
    flash = sum(size for name, size in sizes.items() if name.startswith(".rodata"))
    labels = 10 * (4 + 2)  # a pointer and two characters each
    assert DIGITS.stat().st_size + labels <= flash <= DIGITS.stat().st_size + labels + 64
    assert not any(size for name, size in sizes.items() if name.startswith((".data", ".bss", ".init_array")))
