"""The latencies of a network's parts, as files and as a table."""

import json
import statistics

import numpy as np
import pytest

from odn_keras import NetworkSpec, latency
from odn_keras.deploy import latency_measurement as measuring
from odn_keras.deploy.chain.exit_chain import end_only
from odn_keras.deploy.runtimes import open_interpreter
from odn_keras.devices.latency_table import LatencyTable, parts

pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

SPECS = {
    "basic": NetworkSpec("resnet18", (12, 10, 1), 3, width=4, stem_stride=2, exits=(1, 2), inner=((1,), (2,), (3,))),
    "bottleneck": NetworkSpec("resnet50", (8, 8, 3), 3, width=2, exits=(1,), inner=((1, 2), (2, 1))),
}


@pytest.mark.parametrize("kind", SPECS)
def test_the_parts_one_after_the_other_compute_what_the_whole_does(kind, tmp_path):
    spec, depth = SPECS[kind], len(SPECS[kind].inner)
    whole = measuring._quantized(spec, depth)
    files = {**measuring._parts_of(whole, spec), "whole": end_only(whole)}

    def run(name, tensor):
        (tmp_path / "part.tflite").write_bytes(files[name])
        interpreter = open_interpreter(tmp_path / "part.tflite")
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.set_tensor(taken["index"], tensor)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    image = np.random.default_rng(0).integers(-128, 128, (1, *spec.input_shape)).astype(np.int8)
    tensor = image
    for name in parts(spec, depth):
        assert f" {'x'.join(map(str, tensor.shape[1:]))}: " in name
        tensor = run(name, tensor)
    np.testing.assert_array_equal(tensor, run("whole", image))


def test_a_table_has_all_parts_and_wider_ones_take_longer():
    spec = NetworkSpec("resnet18", (28, 28, 1), 10, width=16, exits=(1,))
    table, checks = measuring.measure_table(spec, 2, seconds=1.0)
    assert [check.inner for check in checks] == [((4,), (4,)), ((8,), (8,)), ((12,), (12,)), ((16,), (16,))]
    (narrow, *_, wide), (_, block, *_) = checks, parts(spec, 2)
    assert narrow.measured_ms < wide.measured_ms
    assert table.parts_ms[block.replace("3x3x16/1 ", "3x3x4/1 ", 1)] < table.parts_ms[block]
    for depth in (1, 2):
        assert 0 < table.milliseconds(spec, depth) < 1000
    assert set(table.parts_ms) >= {*parts(spec, 1), *parts(spec, 2)} and table.vela is None


def test_a_block_with_a_shortcut_of_its_own_is_another_part():
    spec = NetworkSpec("resnet50", (8, 8, 1), 2, width=4, stream=(16, 16, 16, 16, 16))
    first, second = parts(spec, 2)[1:3]
    assert spec.projection(1) and not spec.projection(2) and first == f"{second}, projected"


def test_a_table_of_an_npu_is_velas(tmp_path):
    pytest.importorskip("ethosu", reason="pip install 'odn_keras[vela]'")
    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=8, exits=(1,))
    table, checks = measuring.measure_table(spec, 2, vela="ethos-u55-128")
    assert table.vela == "ethos-u55-128" and all(ms > 0 for ms in table.parts_ms.values())
    predicted = [check.sum_ms * table.factor for check in checks]
    assert table.milliseconds(spec, 2) == pytest.approx(predicted[-1])
    ratios = [check.measured_ms / ms for check, ms in zip(checks, predicted, strict=True)]
    assert statistics.median(ratios) == pytest.approx(1)


def test_the_command_writes_a_table_that_can_be_loaded(run_command, tmp_path):
    spec = {"backbone": "resnet18", "input_shape": [8, 8, 1], "num_classes": 10, "width": 4, "exits": [1]}
    report = {"options": {}, "depth": 2, "supernet": {"spec": spec, "widths": False}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    status, printed, error = run_command(latency, f"--run={tmp_path}", "--seconds=0.1")
    assert (status, error) == (0, "")
    table = LatencyTable.load(tmp_path / "latency.json")
    networks = [NetworkSpec(**spec, inner=((channels,), (channels,))) for channels in (1, 2, 3, 4)]
    assert set(table.parts_ms) == {part for one in networks for depth in (1, 2) for part in parts(one, depth)}
    assert all(part in printed for part in table.parts_ms) and str(tmp_path / "latency.json") in printed
    assert printed.rstrip().splitlines()[-1].startswith(f"next: python -m odn_keras.specialize --run={tmp_path} ")
    assert run_command(latency, f"--run={tmp_path}", "--seconds=0.1", f"--out={tmp_path / 'latency.json'}")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --run"),
        (["--run=FOLDER"], "no finished run"),
        (["--run=FOLDER", "--seconds=0"], "above 0, got 0.0"),
        (["--run=FOLDER", "--out=FOLDER"], "--out must be a file"),
        (["--run=FOLDER", "--out=FOLDER/gone/latency.json"], "--out must be a file"),
        (["--run=SUPERNET", "--out=SUPERNET/report.json"], "no latency table"),
        (["--run=PLAIN"], "holds no smaller network"),
        (["--run=SUPERNET", "--vela=abacus"], "Vela"),
    ],
)
def test_bad_input_is_one_line(run_command, tmp_path, arguments, words):
    spec = {"backbone": "resnet18", "input_shape": [8, 8, 1], "num_classes": 10, "width": 4, "exits": [1]}
    supernet = {"spec": spec, "widths": False}
    reports = {
        "PLAIN": {"options": {}, "supernet": None},
        "SUPERNET": {"options": {}, "depth": 2, "supernet": supernet},
    }
    for name, report in reports.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report))
        arguments = [argument.replace(name, str(tmp_path / name)) for argument in arguments]
    arguments = [argument.replace("FOLDER", str(tmp_path)) for argument in arguments]
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.json")}
    status, _, error = run_command(latency, *arguments)
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*.json")}
    assert status == 2 and error.startswith("error: ") and error.count("\n") == 1 and words in error
    assert not list(tmp_path.rglob("*latency.json"))
