"""Whatever is given: no traceback, no hang, nothing written outside --out. Slow: `make slow`."""

import io
import os
import random
import re
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from odn_keras import InputError, LiteRTClassifier, NetworkSpec, build, export_tflite, load, load_dataset, train

pytestmark = pytest.mark.slow

COMBINATIONS = 1000
MUTATIONS = 1000
SECONDS = 60  # more than this for one case is a hang

TINY = {"width": "2", "epochs": "1", "train_images": "128", "batch_size": "64", "overwrite": "true"}
ODD_TEXT = st.sampled_from(
    ["", " ", "-1", "0", "nan", "inf", "-inf", "1e999", "True", "None", "ä", "x" * 5000, "../..", "%s"]
)
NUMBERS = {
    "image_size": st.integers(-1, 5000),
    "validation_images": st.integers(-1, 1500),
    "train_images": st.integers(90, 400) | st.integers(-1, 2000),
    "width": st.integers(0, 6) | st.just(10**9),
    "stem_stride": st.integers(-1, 4),
    "target_accuracy": st.floats(0, 1) | st.floats(),
    "depth": st.integers(-1, 20),
    "max_depth": st.integers(-1, 20),
    "shrink_epochs": st.integers(-1, 3),
    "prune": st.floats(0, 1.2) | st.floats(),
    "alpha": st.floats(0, 1.2) | st.floats(),
    "temperature": st.floats(min_value=0) | st.floats(),
    "exit_weight": st.floats(min_value=0) | st.floats(),
    "brightness": st.floats(0, 1.2) | st.floats(),
    "contrast": st.floats(0, 1.2) | st.floats(),
    "saturation": st.floats(0, 1.2) | st.floats(),
    "hue": st.floats(0, 200) | st.floats(),
    "erase": st.floats(0, 1.2) | st.floats(),
    "mixup": st.floats(0, 2) | st.floats(),
    "cutmix": st.floats(0, 2) | st.floats(),
    "max_latency_ms": st.floats(0, 100) | st.floats(),
    "slack": st.floats(0, 1) | st.floats(),
    "epochs": st.integers(0, 3),
    "cycle_epochs": st.integers(-1, 3),
    "batch_size": st.integers(16, 128) | st.integers(-1, 10**12),
    "learning_rate": st.floats(min_value=0) | st.floats(),
    "weight_decay": st.floats(min_value=0) | st.floats(),
    "label_smoothing": st.floats(0, 1.2),
    "shift": st.floats(min_value=0) | st.floats(),
    "rotate": st.floats(0, 200) | st.floats(),
    "zoom": st.floats(0, 2) | st.floats(),
    "seed": st.integers(0, 2**33) | st.integers(),
    "process_id": st.integers(-1, 3),
    "num_processes": st.integers(-1, 3),
}
WORDS = {
    "dataset": st.sampled_from(
        ["digits", "digits", "digits", "no_such", "a/b/c", ".", "/dev/null", "x.npz", "mnist:9.9.9", "digits.npz"]
    ),
    "data_dir": st.sampled_from(["/proc", "/nowhere", ""]),
    "max_flash": st.sampled_from(["100", "8KB", "1MB", "-1KB", "8 kb", "1e5"]),
    "device": st.sampled_from(["nucleo_f446re", "esp32", "list", "no_such"]),
    "device_file": st.sampled_from(["/nowhere", "/dev/null", "."]),
    "reserved_flash": st.sampled_from(["0", "64KB", "1GB"]),
    "reserved_ram": st.sampled_from(["4KB", "1TB", "some"]),
    "kernels": st.sampled_from(["reference", "cmsis_nn", "fast"]),
    "max_arena": st.sampled_from(["100", "4KB", "64KB", "KB", "0"]),
    "backbone": st.sampled_from(["resnet18", "resnet34", "resnet50", "ds_cnn", "mobilenetv2", "vgg", "x.json", "{}"]),
    "continue_from": st.sampled_from(["/nowhere", "/dev/null", "."]),
    "start_from": st.sampled_from(["/nowhere", "/dev/null", ".", "x.keras"]),
    "teacher": st.sampled_from(["/nowhere", "/dev/null", ".", "x.keras"]),
    "target_metric": st.sampled_from(["accuracy", "balanced_accuracy", "macro_f1", "f1"]),
    "class_weight": st.sampled_from(["none", "balanced", "0:3,1:0.5", "cat:3", ":", "0:-1"]),
    "exits": st.sampled_from(["all", "1,2", "9", "one"]),
    "augment": st.sampled_from(["none", "light", "strong", "some"]),
    "resize": st.sampled_from(["stretch", "crop", "pad", "other"]),
    "freeze": st.sampled_from(["prefix", "none", "all"]),
    "precision": st.sampled_from(["auto", "float32", "mixed_bfloat16", "float16"]),
    "distribution": st.sampled_from(["data_parallel", "other"]),
    "coordinator": st.sampled_from(["here", "127.0.0.1:1"]),
}
SWITCHES = ("grayscale", "flip", "in_memory", "overwrite", "resume", "prune_streams", "tensorboard")
ANY_FLAG = st.one_of(
    *(
        st.tuples(st.just(name), st.integers(0, 5).flatmap(lambda n, values=values: values.map(str) if n else ODD_TEXT))
        for name, values in (NUMBERS | WORDS).items()
    ),
    *(st.tuples(st.just(name), st.sampled_from(["true", "false", "maybe"])) for name in SWITCHES),
)


def test_every_flag_of_the_command_is_fuzzed(run_command):
    _, text, _ = run_command(train, "--help")
    _, flags = text.split("Flags by subject")
    assert {*NUMBERS, *WORDS, *SWITCHES, "out", "help"} == set(re.findall(r"--(\w+)", flags))


def test_any_combination_of_flags_ends_in_order(run_command, tmp_path, monkeypatch, capsys):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    statuses = []

    @settings(
        max_examples=COMBINATIONS, deadline=SECONDS * 1000, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(ANY_FLAG, min_size=1, max_size=3))
    def combination(chosen):
        out = tmp_path / "work" / "out"
        arguments = [f"--{name}={value}" for name, value in [*TINY.items(), *chosen]]
        status, _, error = run_command(train, f"--out={out}", *arguments)
        statuses.append(status)
        assert statuses[-1] in (0, 2, 3), arguments
        assert "Traceback" not in error
        if statuses[-1] == 2:
            assert [line for line in error.splitlines() if line.startswith("error: ")], error
        assert [entry.name for entry in tmp_path.iterdir()] == ["work"]
        assert [entry.name for entry in (tmp_path / "work").iterdir()] in ([], ["out"])

    combination()
    with capsys.disabled():
        print(f"\n{len(statuses)} combinations of flags: {statuses.count(2)} refused, the others trained")
    assert len(statuses) >= COMBINATIONS


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Cut short, or with some bytes changed, or with a stretch replaced; in the members of a zip file as well."""
    if content[:2] == b"PK" and rng.random() < 0.5:
        return mutated_member(content, rng)
    changed = bytearray(content)
    kind = rng.randrange(3)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        for _ in range(rng.randrange(1, 20)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    else:
        place = rng.randrange(len(changed))
        changed[place : place + rng.randrange(1, 64)] = rng.randbytes(rng.randrange(64))
    return bytes(changed)


def mutated_member(content: bytes, rng: random.Random) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(result, "w") as after:
        victim = rng.choice(before.namelist())
        for name in before.namelist():
            member = bytearray(before.read(name))
            if name == victim:
                for _ in range(rng.randrange(1, 6)):
                    member[rng.randrange(min(len(member), 4000))] = rng.randrange(256)
            after.writestr(name, bytes(member))
    return result.getvalue()


@pytest.fixture
def network():
    return build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1)


def keras_case(folder, network):
    network.save(folder / "file.keras")
    return folder / "file.keras", lambda path: load(path)(np.zeros((1, 8, 8, 1), np.float32))


def tflite_case(folder, _):
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1)).astype(np.uint8)
    network = build(NetworkSpec("resnet18", (8, 8, 1), 2, width=16), 2)  # mostly weights, as real ones are
    export_tflite(network, images, folder / "file.tflite")

    def use(path):
        classifier = LiteRTClassifier(path)
        classifier.predict(np.zeros((1, *classifier.input_shape), np.uint8))

    return folder / "file.tflite", use


def npz_case(folder, _):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8)).astype(np.uint8)
    arrays = {"x_train": images, "y_train": np.arange(40) % 2, "x_test": images[:10], "y_test": np.arange(10) % 2}
    np.savez(folder / "file.npz", class_names=np.array(["nut", "bolt"]), **arrays)
    return folder / "file.npz", lambda path: load_dataset(str(path))


def png_case(folder, _):
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(4):  # of two none would be left to validate and test on
            Image.effect_noise((16, 16), 50).save(folder / "images" / name / f"{number}.png")
    return folder / "images" / "a" / "0.png", lambda path: load_dataset(str(folder / "images"))


@pytest.mark.parametrize("case", [keras_case, tflite_case, npz_case, png_case])
def test_mutated_files_are_read_or_refused(tmp_path, capfd, network, case):
    path, use = case(tmp_path, network)
    use(path)
    content = path.read_bytes()
    files = sorted(tmp_path.rglob("*"))
    refused = 0
    for number in range(MUTATIONS):
        path.write_bytes(mutated(content, random.Random(number)))
        began = os.times().elapsed
        try:
            use(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error), number
        assert os.times().elapsed - began < SECONDS, number
    assert sorted(tmp_path.rglob("*")) == files
    with capfd.disabled():
        print(f"\n{MUTATIONS} mutated {path.suffix} files: {refused} refused, the others still readable")
