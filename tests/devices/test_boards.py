import json

import numpy as np
import pytest

from odn_keras import InputError, NetworkSpec, RunOptions, export, footprint, train
from odn_keras.devices.boards import Wanted, boards, find, table
from odn_keras.devices.choices import Choices
from odn_keras.networks.kernels import KERNELS

KB = 1024
MINE = """
[mine]
chip = "made up"
core = "Cortex-M4F"
clock_mhz = 100
cycles_per_instruction = 1
flash = "40KB"
ram = "20KB"
kernels = "cmsis_nn"
reserved_flash = "10KB"
reserved_ram = "5KB"
source = "nowhere"
"""


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    return str(file)


def test_every_board_is_described_whole_and_listed():
    known = boards()
    assert len(known) >= 12
    listed = table(known)
    for name, board in known.items():
        assert all(page.startswith("https://") for page in board.source.split()) and board.source
        assert board.kernels in KERNELS and name in listed
        assert 16 * KB <= board.ram < board.flash


def test_a_device_leaves_what_runtime_stack_and_program_do_not_need():
    board = find("nucleo_f446re")
    room = board.room("cmsis_nn")
    assert (room.flash_bytes, room.arena_bytes) == ((512 - 98 - 32) * KB, (128 - 3 - 4 - 16) * KB)
    assert board.room("reference", 0, 1024).flash_bytes == 512 * KB
    budget = Wanted(device="nucleo_f446re", max_arena="64KB").budget()
    assert (budget.max_flash, budget.max_arena, budget.kernels) == (room.flash_bytes, 64 * KB, "cmsis_nn")
    assert Wanted(device="nucleo_f446re", kernels="reference").budget().kernels == "reference"


def test_a_device_of_ones_own_is_one_more(mine):
    limits = Wanted(device="mine", device_file=mine).budget()
    assert (limits.max_flash, limits.max_arena) == (30 * KB, 15 * KB)
    assert {"mine", "pico2"} <= boards(mine).keys()
    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=8)
    predicted = footprint.of_spec(spec, 1, "cmsis_nn").instructions / 100_000
    assert limits.milliseconds(spec, 1) == pytest.approx(predicted)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('"40KB"', '"much"'), "give a number of bytes"),
        (('"40KB"', "0"), "give a number of bytes"),
        (("100", '"fast"'), "clock_mhz must be a number above 0"),
        (('"cmsis_nn"', '"esp_nn"'), "kernels must be one of reference, cmsis_nn"),
        (('"made up"', "1"), "chip must be text"),
        (('source = "nowhere"', ""), "missing 1 required"),
        (("ram =", "rom ="), "unexpected keyword argument 'rom'"),
        (("[mine]\n", ""), "must be a table"),
        (("[mine]", "[mine"), "cannot be read"),
    ],
)
def test_a_file_that_describes_no_board_is_refused_in_a_line(tmp_path, change, reason):
    file = tmp_path / "bad.toml"
    file.write_text(MINE.replace(*change, 1))
    with pytest.raises(InputError, match=reason) as caught:
        boards(file)
    assert "\n" not in str(caught.value) and "bad.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"device": "nucleo_f446er"}, r"no device 'nucleo_f446er' is known \(nucleo_f446re"),
        ({"device": "bluepill"}, "64 KB of flash, of which .* 96 KB: .*--reserved_flash"),
        ({"device": "nucleo_f446re", "max_arena": "106KB"}, "more than nucleo_f446re leaves for a model, 107,520"),
        ({"reserved_ram": "4KB"}, "is for --device"),
        ({"max_latency_ms": 5.0}, "needs --device"),
        ({"device": "esp32", "max_latency_ms": 5.0}, "no time is predicted for the Xtensa LX6"),
        ({"device": "numaker_m55m1", "max_latency_ms": 5.0}, "is Vela's to estimate"),
    ],
)
def test_what_no_device_can_be_is_refused(options, reason):
    with pytest.raises(InputError, match=reason):
        RunOptions(**options)


def test_a_limit_of_time_steers_the_depth():
    spec = NetworkSpec("resnet18", (28, 28, 1), 10, width=16)
    free = Wanted(device="nucleo_f446re").budget()
    times = [free.milliseconds(spec, depth) for depth in (1, 2, 3)]
    assert times == sorted(times)
    assert Wanted(device="nucleo_f446re", max_latency_ms=times[1]).budget().deepest(spec) == 2
    with pytest.raises(InputError, match=r"fits max_flash.* on nucleo_f446re: .* ms$"):
        Wanted(device="nucleo_f446re", max_latency_ms=0.001).budget().fit(spec)


def test_the_search_within_a_network_adds_up_the_same_time():
    limits = Wanted(device="nucleo_f446re").budget()
    choices = Choices(NetworkSpec("resnet18", (8, 8, 1), 10, width=8), (0.5, 1.0), runs_on=limits)
    cost, per_ms = choices.costs("latency_ms", 2)[0], choices.most("latency_ms", 1.0)
    for options in ((0, 0), (0, 1), (1, 0)):
        total = cost.start + sum(of_block[option] for of_block, option in zip(cost.options, options, strict=True))
        assert choices.sizes(choices.of_options(2, options))["latency_ms"] == pytest.approx(total / per_ms)


def test_train_and_export_keep_within_a_device_and_say_what_is_left(run_command, tmp_path, mine):
    pytest.importorskip("tflite_micro")
    out, device = tmp_path / "run", ["--device=mine", f"--device_file={mine}"]
    arguments = ["--epochs=1", "--width=8", "--target_accuracy=0.1", "--max_latency_ms=50"]
    status, printed, _ = run_command(train, f"--out={out}", *arguments, *device)
    assert status == 0, printed
    assert "ms on mine" in printed
    budget = json.loads((out / "report.json").read_text())["budget"]
    ram, flash = 15 * KB - budget["arena_bytes"], 30 * KB - budget["flash_bytes"]
    assert (budget["spare_ram"], budget["spare_flash"], budget["kernels"]) == (ram, flash, "cmsis_nn")
    line = f"fits mine with {ram // KB} KB of RAM and {flash // KB} KB of flash to spare"
    assert line in printed and 0 < budget["latency_ms"] < 50
    status, printed, _ = run_command(export, f"--run={out}", "--targets=microcontroller", *device)
    assert status == 0 and line in printed and "predicted for mine: " in printed
    status, printed, _ = run_command(export, f"--run={out}", *device, "--targets=microcontroller", "--max_flash=1KB")
    assert status == 4 and "fits mine" not in printed
    assert np.isclose(
        json.loads((out / "export" / "export.json").read_text())["budget"]["latency_ms"], budget["latency_ms"]
    )


@pytest.mark.parametrize("command", [train, export])
def test_the_devices_are_listed(run_command, command, mine):
    status, printed, _ = run_command(command, "--device=list", f"--device_file={mine}")
    assert status == 0 and "nucleo_f446re" in printed and "made up" in printed
