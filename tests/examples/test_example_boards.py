"""Projects for Arduino, ESP-IDF and Zephyr: their sources compile against declarations of what they use."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from odn_keras.deploy.micro.c_array import write_c_array

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")

HERE = pathlib.Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "microcontroller"
DIGITS = HERE.parents[1] / "tflite_models" / "digits.tflite"
TFLM = '#include "tflite_micro_abi.h"\n'
# Not these systems' headers: what the projects use of them, declared again.
HEADERS = {
    "arduino": {
        "TensorFlowLite.h": "",
        "Arduino.h": """
            #include <cstddef>
            #include <cstdint>
            struct {
              void begin(unsigned long);
              int available();
              int read();
              std::size_t write(const std::uint8_t*, std::size_t);
            } Serial;
            unsigned long micros();
            void yield();
        """,
    },
    "esp_idf": {
        "freertos/FreeRTOS.h": "#define portMAX_DELAY 0xffffffffu\n",
        "esp_timer.h": "#include <cstdint>\nstd::int64_t esp_timer_get_time();\n",
        "driver/uart.h": """
            #include <cstddef>
            #include <cstdint>
            enum uart_port_t { UART_NUM_0 };
            enum { ESP_OK };
            int uart_driver_install(uart_port_t, int, int, int, void**, int);
            int uart_read_bytes(uart_port_t, void*, std::uint32_t, std::uint32_t);
            int uart_write_bytes(uart_port_t, const void*, std::size_t);
        """,
    },
    "zephyr": {
        "zephyr/device.h": """
            #define DT_CHOSEN(name) 0
            #define DEVICE_DT_GET(node) nullptr
            struct device;
            bool device_is_ready(const device*);
        """,
        "zephyr/drivers/uart.h": """
            int uart_poll_in(const device*, unsigned char*);
            void uart_poll_out(const device*, unsigned char);
        """,
        "zephyr/kernel.h": """
            #include <cstdint>
            std::int64_t k_uptime_ticks();
            std::uint64_t k_ticks_to_us_floor64(std::uint64_t);
        """,
    },
}
COMPILERS = {
    "g++": ["g++"],
    "arm-none-eabi-g++": ["arm-none-eabi-g++", "-mcpu=cortex-m4", "-mthumb", "-fno-exceptions", "-fno-rtti"],
}


@pytest.fixture
def model(tmp_path):
    write_c_array(DIGITS, list("0123456789"), tmp_path / "export", arena_bytes=16_160)
    return tmp_path / "export"


def make(*arguments):
    return subprocess.run(
        [sys.executable, EXAMPLE / "project.py", *arguments], capture_output=True, text=True, check=False
    )


def compile_all(folder, kind, compiler, tmp_path, *options):
    tflm = re.findall(r'#include "(tensorflow/.*)"', (EXAMPLE / "classify.cc").read_text())
    for name, text in (HEADERS[kind] | dict.fromkeys(tflm, TFLM)).items():
        header = tmp_path / "include" / name
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(text)
    sources = [path for path in folder.rglob("*") if path.suffix in (".cc", ".cpp", ".ino")]
    assert len(sources) == 4
    forced = ["-include", "Arduino.h"] if kind == "arduino" else []  # as Arduino does
    for source in sources:
        language = ["-x", "c++"] if source.suffix == ".ino" else []
        command = [*COMPILERS[compiler], "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *options, *forced]
        includes = [f"-I{tmp_path / 'include'}", f"-I{HERE}", f"-I{source.parent}"]
        subprocess.run([*command, *includes, *language, source], check=True)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("arduino", ["-std=gnu++14", "-DTFLM_CLASSES_IN_TFLITE", "-DARDUINO=10607"]),
        ("esp_idf", ["-std=gnu++2b", "-DODN_ARENA_BYTES=(odn_model::kArenaBytes+16384)"]),
        ("zephyr", ["-std=c++17", "-DCMSIS_NN"]),
    ],
)
def test_a_project_is_whole_and_its_sources_compile(model, tmp_path, kind, options, compiler):
    if not shutil.which(compiler):
        pytest.skip(f"there is no {compiler}")
    out = tmp_path / "my_sketch"
    assert make(kind, model, out).stdout == f"{out}\n"
    compile_all(out, kind, compiler, tmp_path, *options)
    if kind == "arduino":
        assert (out / "my_sketch.ino").exists() and not list(out.glob("*.cc"))


@pytest.mark.parametrize("kind", ["esp_idf", "zephyr"])
def test_the_build_names_the_sources_that_are_there(model, tmp_path, kind):
    out = tmp_path / "project"
    make(kind, model, out)
    lists = out / "main" / "CMakeLists.txt" if kind == "esp_idf" else out / "CMakeLists.txt"
    named = set(re.findall(r"[\w/]+\.cc", re.sub(r"#.*", "", lists.read_text())))
    assert named == {str(path.relative_to(lists.parent)) for path in out.rglob("*.cc")}


def test_no_folder_is_overwritten_and_none_made_without_a_model(model, tmp_path):
    for arguments, reason in (
        (("zephyr", model, tmp_path), "is there already"),
        (("zephyr", tmp_path, tmp_path / "out"), "there is no"),
    ):
        result = make(*arguments)
        assert result.returncode == 1 and reason in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
