import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from odn_keras import NetworkSpec, RoutedClassifier, RunOptions, build, measure_arena, route

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """A finished run with exits on the digits: the two of its files that routing reads."""
    folder = tmp_path_factory.mktemp("run")
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=8, exits=(1,)), 2)
    images, labels = digits.train
    network.compile("adam", ["sparse_categorical_crossentropy"] * 2, jit_compile=False)
    network.fit(images.astype("float32"), [labels] * 2, epochs=20, batch_size=32, verbose=0)
    network.save(folder / "supernet.keras")
    (folder / "report.json").write_text(json.dumps({"options": asdict(RunOptions(dataset="digits"))}))
    return folder


def test_a_run_becomes_a_chain_that_keeps_what_its_report_says(run_command, run, digits, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for kind in ("tflite", "cc", "h"):
        (out / f"stage9.{kind}").write_text("of an earlier chain")
    (out / "routing.json").write_text("{}")
    status, printed, error = run_command(route, f"--run={run}", f"--out={out}", "--max_accuracy_drop=0.2")
    assert status == 0, error
    assert {path.name for path in out.iterdir()} == {
        *(f"stage{number}.{kind}" for number in (1, 2) for kind in ("tflite", "cc", "h")),
        *("routing.json", "routing.h", "routing.png", "labels.txt", "report.html"),
    }
    result = json.loads((out / "routing.json").read_text())
    images, labels = digits.test
    answers, exits = RoutedClassifier(out).route(images)
    first, end = result["stages"]
    assert result["test"]["accuracy"] == np.mean(answers.argmax(-1) == labels)
    assert first["test_share"] == pytest.approx(np.mean(exits == 0)) and first["test_share"] > 0
    mean_macs = first["test_share"] * first["macs"] + end["test_share"] * end["macs"]
    assert result["test"]["mean_macs"] == pytest.approx(mean_macs)
    assert "promised: at most 0.2000 of accuracy lost, with 95 % confidence" in printed
    assert f"kThresholds[kStages] = {{{first['threshold_int8']}, -128}};" in (out / "routing.h").read_text()
    assert all(str(path) in printed for path in out.iterdir())
    saved = 1 - result["test"]["mean_macs"] / end["macs"]
    assert f"{100 * saved:.1f} % fewer MACs" in (out / "report.html").read_text()
    assert _runs_as_it_stands(printed) == f"{result['test']['accuracy']}"
    for stage in result["stages"]:
        if importlib.util.find_spec("tflite_micro"):
            assert stage["arena_bytes"] == measure_arena(out / stage["file"]) and f"{stage['arena_bytes']:,}" in printed
        else:
            assert stage["arena_bytes"] is None and "arenas were not measured" in printed
    if shutil.which("g++") and importlib.util.find_spec("tflite_micro"):
        assert _printed_by_a_program(out) == [f"{stage['bytes']} {stage['arena_bytes']}" for stage in result["stages"]]
        for number in (1, 2):
            assert (out / f"read{number}").read_bytes() == (out / f"stage{number}.tflite").read_bytes()


def _runs_as_it_stands(printed):
    """What the command prints that the last line names."""
    command = printed.rstrip().splitlines()[-1].removeprefix("next: ")
    environment = {**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        command, shell=True, check=True, capture_output=True, text=True, env=environment
    ).stdout.strip()


def test_a_promise_that_takes_more_images_says_how_many(run_command, run, tmp_path):
    status, printed, _ = run_command(route, f"--run={run}", f"--out={tmp_path / 'out'}", "--max_accuracy_drop=0.001")
    needed = json.loads((tmp_path / "out" / "routing.json").read_text())["validation"]["images_needed"]
    assert status == 0 and "NO image leaves early" in printed
    if needed:
        assert needed > 255 and f"about {needed:,} validation images, there are 255" in printed


def _printed_by_a_program(folder):
    """What a C++11 program of the stages and routing.h knows; it writes the stages' bytes to read1 and read2."""
    (folder / "main.cc").write_text(
        '#include "routing.h"\n#include "stage1.h"\n#include "stage2.h"\n#include <cstdio>\n'
        "void tell(const unsigned char* model, std::size_t bytes, std::size_t arena, const char* to) {\n"
        'std::printf("%zu %zu\\n", bytes, arena); std::FILE* file = std::fopen(to, "wb");\n'
        "std::fwrite(model, 1, bytes, file); std::fclose(file); }\n"
        'int main() { static_assert(odn_routing::kStages == 2, "");\n'
        'tell(odn_stage1::kModel, odn_stage1::kModelBytes, odn_stage1::kArenaBytes, "read1");\n'
        'tell(odn_stage2::kModel, odn_stage2::kModelBytes, odn_stage2::kArenaBytes, "read2"); }\n'
    )
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", "main", "main.cc"]
    subprocess.run([*command, "stage1.cc", "stage2.cc"], cwd=folder, check=True)
    printed = subprocess.run(["./main"], cwd=folder, check=True, capture_output=True, text=True).stdout
    return printed.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --run"),
        (["--run=RUN", "--model=RUN/supernet.keras"], "give --run"),
        (["--run=nowhere"], "no finished run"),
        (["--model=nowhere.keras"], "no such file"),
        (["--run=RUN", "--validation_images=400"], "leave --validation_images out"),
        (["--run=RUN", "--max_accuracy_drop=5"], "a fraction from 0 to 1, got 5.0"),
        (["--run=RUN", "--out=RUN/report.json"], "must be a folder"),
        (["--run=RUN", "--out=RUN"], "a folder of its own"),
        (["--run=RUN", "--out=RUN/export"], "belongs to the run"),
        (["--run=RUN", "--out=RUN/checkpoint/routed"], "belongs to the run"),
        (["--run=RUN", "--max_accuracy_drop=nan"], "a fraction from 0 to 1, got nan"),
        (["--run=RUN", "--max_accuracy_drop=inf"], "a fraction from 0 to 1, got inf"),
        (["--model=RUN/supernet.keras", "--dataset=DATA"], "2 classes"),
        (["--model=PLAIN", "--dataset=digits"], "no exit before its end: train with --exits=all"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run_command, run, npz, tmp_path, arguments, message):
    build(NetworkSpec("resnet18", (8, 8, 1), 10, width=4), 1).save(tmp_path / "plain.keras")
    names = {"RUN": run, "DATA": npz(), "PLAIN": tmp_path / "plain.keras"}
    for name, path in names.items():
        arguments = [argument.replace(name, str(path)) for argument in arguments]
    before = sorted((*run.iterdir(), *tmp_path.iterdir()))
    status, _, error = run_command(route, *arguments)
    assert status == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert sorted((*run.iterdir(), *tmp_path.iterdir())) == before


def test_a_run_without_exits_is_reported_how_to_get_them(run_command, run, tmp_path):
    (tmp_path / "report.json").write_text((run / "report.json").read_text())
    status, _, error = run_command(route, f"--run={tmp_path}")
    assert status == 2 and "no exit before its end: train with --exits=all" in error
