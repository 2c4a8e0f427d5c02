"""evaluate --runtime=serial, against examples/microcontroller/serve.cc behind a pseudo-terminal."""

import contextlib
import json
import os
import pathlib
import pty
import select
import shutil
import subprocess
import sys
import threading
import time
import tty
import zlib

import numpy as np
import pytest

from odn_keras import InputError, LiteRTClassifier, evaluate, load_dataset, open_classifier
from odn_keras.deploy.micro import serial_device
from odn_keras.deploy.micro.c_array import write_c_array
from odn_keras.deploy.micro.serial_device import INFORMATION, VERSION, Link, frame, stuffed, unframed, unstuffed

pytest.importorskip("serial", reason="pyserial is not installed: pip install 'odn_keras[serial]'")
pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.skipif(not (shutil.which("g++") and shutil.which("make")), reason="there is no g++ or no make")

ROOT = pathlib.Path(__file__).parents[2]
DIGITS, OTHER = (ROOT / "tflite_models" / name for name in ("digits.tflite", "mnist_64kb_pruned.tflite"))
SECONDS = 0.25  # to wait for an answer


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The host build of serve.cc, with the digits."""
    folder = tmp_path_factory.mktemp("serve")
    shutil.copytree(ROOT / "examples" / "microcontroller", folder / "microcontroller")
    write_c_array(DIGITS, list("0123456789"), folder, arena_bytes=1)
    host = folder / "microcontroller" / "host"
    subprocess.run(["make", "-s", "-C", host, "serve", f"MODEL={folder}", f"PYTHON={sys.executable}"], check=True)
    return host / "serve"


@contextlib.contextmanager
def cable():
    """A pseudo-terminal: the end of the device, as a file descriptor, and the name of the port at the other end."""
    device, port = pty.openpty()
    tty.setraw(port)
    try:
        yield device, os.ttyname(port)
    finally:
        for end in (device, port):
            with contextlib.suppress(OSError):
                os.close(end)


@contextlib.contextmanager
def repeating(step):
    """Calls `step` in a thread again and again, until the block ends."""
    over = threading.Event()

    def loop():
        while not over.is_set():
            step()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def device_at(program, spoil=lambda chunk: chunk):
    """The program at the end of a cable on which what it sends, and what is sent to it, passes through `spoil`."""
    running = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    with cable() as (end, port):

        def relay():
            ready, _, _ = select.select([end, running.stdout], [], [], 0.02)
            for source in ready:
                data = os.read(end if source == end else running.stdout.fileno(), 4096)
                target = running.stdin.fileno() if source == end else end
                os.write(target, spoil(data))

        try:
            with repeating(relay):
                yield port
        finally:
            running.stdin.close()
            running.wait(10)
            running.stdout.close()


@contextlib.contextmanager
def speaking(say):
    """A device that sends what `say` returns."""
    with cable() as (end, port):

        def speak():
            said = say()
            if select.select([], [end], [], 0.02)[1]:
                os.write(end, said)
            time.sleep(0.005)

        with repeating(speak):
            yield port


@contextlib.contextmanager
def answering(answer):
    """A device that sends what `answer` makes of each question: kind, number, payload and CRC-32."""
    with cable() as (end, port):
        heard = bytearray()

        def serve():
            if select.select([end], [], [], 0.02)[0]:
                heard.extend(os.read(end, 4096))
            *frames, rest = heard.split(b"\0")
            heard[:] = rest
            for question in filter(None, map(unframed, map(bytes, frames))):
                kind, number, payload = question
                check = zlib.crc32(kind + bytes([number]) + payload).to_bytes(4, "little")
                os.write(end, answer(kind, number, payload, check))

        with repeating(serve):
            yield port


def information(number, check, file=DIGITS):
    content = file.read_bytes()
    about = INFORMATION.pack(VERSION, 8, 8, 1, 10, len(content), zlib.crc32(content), 0)
    return frame(b"I", number, check + about)


def scores(number, check, microseconds=1000):
    return frame(b"C", number, check + microseconds.to_bytes(4, "little") + bytes(range(10)))


def images(count=20):
    return load_dataset("digits").test[0][:count]


def assert_scores_are_right(program, pixels, spoil):
    with device_at(program, spoil) as port, open_classifier(DIGITS, "serial", port=port, seconds=SECONDS) as classifier:
        scores = classifier.predict_quantized(pixels)
    np.testing.assert_array_equal(scores, LiteRTClassifier(DIGITS).predict_quantized(pixels))


def test_the_command_reports_accuracy_agreement_and_the_devices_own_time(program, run_command, tmp_path):
    report = tmp_path / "report.json"
    with device_at(program) as port:
        arguments = [f"--tflite={DIGITS}", "--runtime=serial", f"--port={port}", "--images=50", f"--report={report}"]
        status, printed, error = run_command(evaluate, *arguments)
    assert status == 0, error
    assert "on the device, without the cable" in printed and "agreement 1.0000 of the classes with LiteRT" in printed
    found = json.loads(report.read_text())
    expected, labels = load_dataset("digits").test
    assert found["accuracy"] == LiteRTClassifier(DIGITS).accuracy(expected[:50], labels[:50])
    assert (found["agreement"], found["largest_difference_steps"], found["arena_bytes"]) == (1.0, 0, None)
    assert 0 < found["median_ms"] < 100


def test_lost_cut_and_corrupted_frames_are_asked_again(program, monkeypatch):
    monkeypatch.setattr(serial_device, "ATTEMPTS", 20)  # a quarter of all chunks, either way, is a bad cable
    monkeypatch.setattr(serial_device, "FIRST_IMAGE", 1)
    rng, spoiled = np.random.default_rng(0), []

    def spoil(chunk):
        if len(chunk) < 6 or rng.random() > 0.25:
            return chunk
        kind, place = rng.integers(3), int(rng.integers(2, len(chunk) - 2))
        spoiled.append(kind)
        return [b"\0", chunk[:place], chunk[:place] + bytes([chunk[place] ^ 64]) + chunk[place + 1 :]][kind]

    assert_scores_are_right(program, images(12), spoil)
    assert {0, 1, 2} <= set(spoiled)


def test_messages_between_the_frames_do_no_harm(program):
    zeros = []

    def spoil(chunk):
        said = b""
        for byte in chunk:
            if byte == 0:
                zeros.append(byte)
                said += b"\0done\r\n" if len(zeros) % 2 == 0 else b"I (12) boot: hello\r\n\0"
            else:
                said += bytes([byte])
        return said

    assert_scores_are_right(program, images(5), spoil)


def refused(port, **options):
    with pytest.raises(InputError) as caught:
        open_classifier(DIGITS, "serial", port=port, seconds=SECONDS, **options).predict(images())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_silent_device_is_named():
    with cable() as (_, port):
        assert "is silent: is the program with serve.cc running" in refused(port)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"Guru Meditation Error\r\n", "its last line: 'Guru Meditation Error'"),
        (b"\xfe\x81\x00\x9d", "is 115200 its baud rate"),
        (b"\xff" * 4000, "sends what is no answer"),
    ],
)
def test_a_babbling_device_is_named(said, reason):
    with speaking(lambda: said) as port:
        assert reason in refused(port)


def test_answers_that_are_none_are_not_taken():
    answers = b"".join(frame(b"I", number, b"\x01 short") for number in range(1, 4))
    with speaking(lambda: answers) as port:
        assert "speaks another version of serve.cc" in refused(port)


def test_an_answer_to_another_image_is_never_taken():
    first = []

    def replay(kind, number, payload, check):
        if kind == b"i":
            return information(number, check)
        first.append(check)
        return scores(number, first[0])

    with answering(replay) as port, open_classifier(DIGITS, "serial", port=port, seconds=SECONDS) as classifier:
        assert classifier.predict_quantized(images(1)).tolist() == [list(range(10))]
        with pytest.raises(InputError, match="sends what is no answer"):
            classifier.predict(images(2)[1:])


def test_a_slow_device_is_waited_for_and_a_late_answer_taken(monkeypatch):
    monkeypatch.setattr(serial_device, "FIRST_IMAGE", 2)
    asked = []

    def late(kind, number, payload, check):
        if kind == b"i":
            return information(number, check)
        asked.append(number)
        time.sleep(2.5 * SECONDS if len(asked) == 1 else 0)
        return scores(number, check)

    with answering(late) as port, open_classifier(DIGITS, "serial", port=port, seconds=SECONDS) as classifier:
        assert classifier.predict(images(2)).shape == (2, 10)
    assert asked[0] == asked[1] and len(set(asked)) == 2  # asked again, and the first answer taken


def test_a_device_that_stops_within_the_images_ends_in_bounded_time(monkeypatch):
    monkeypatch.setattr(serial_device, "FIRST_IMAGE", 2)
    left = [1]

    def stop(kind, number, payload, check):
        if kind == b"i":
            return information(number, check)
        return scores(number, check) if left and left.pop() else b""

    began = time.monotonic()
    with answering(stop) as port:
        assert "has answered before, and is silent now" in refused(port)
    assert time.monotonic() - began < 10


def test_a_clock_that_cannot_be_right_is_named():
    def boast(kind, number, payload, check):
        return information(number, check) if kind == b"i" else scores(number, check, 4_000_000_000)

    with answering(boast) as port:
        assert "the clock that its program gives to Serve is wrong" in refused(port)


def test_a_device_that_does_not_take_the_image_is_named():
    with cable() as (_, port):
        link = Link(port, 4_000_000, SECONDS)
        with pytest.raises(InputError, match="is silent"):
            link.ask(b"c", bytes(100_000))
        link.close()


def test_a_device_with_another_model_is_refused(program, run_command):
    with device_at(program) as port:
        arguments = [f"--tflite={OTHER}", "--runtime=serial", f"--port={port}"]
        status, _, error = run_command(evaluate, *arguments, "--dataset=digits")
    assert status == 2 and error.count("\n") == 1
    assert "runs another model, for images of 8 x 8 x 1 in 10 classes, of 83,488 bytes" in error


def test_an_image_of_another_size_is_refused_by_the_device(program):
    with device_at(program) as port:
        link = Link(port, 115_200, SECONDS)
        with pytest.raises(InputError, match="does not know what it is asked"):
            link.ask(b"c", bytes(63))
        with pytest.raises(InputError, match="does not know what it is asked"):
            link.ask(b"x")
        assert len(link.ask(b"c", bytes(64))) == 14
        link.close()


def test_an_unplugged_cable_is_named(program):
    with cable() as (end, port):
        running = subprocess.Popen([program], stdin=end, stdout=end)
        try:
            classifier = open_classifier(DIGITS, "serial", port=port, seconds=SECONDS)
            assert classifier.predict(images(2)).shape == (2, 10)
        finally:
            running.kill()
            running.wait()
        os.close(end)
        with pytest.raises(InputError, match=r"the device at .* has gone"):
            classifier.predict(images(2))
        classifier.close()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "needs --port"),
        (["--port=/dev/no_such_port"], "there is none of that name"),
        (["--port=/dev/null"], "cannot be opened"),
        (["--port=/dev/ttyACM0", "--runtime=litert"], "are for --runtime=serial"),
    ],
)
def test_a_port_that_is_none_is_refused(run_command, arguments, reason):
    status, _, error = run_command(evaluate, f"--tflite={DIGITS}", "--runtime=serial", *arguments)
    assert status == 2 and error.count("\n") == 1 and reason in error


def test_a_port_that_is_taken_is_refused():
    with cable() as (_, port):
        link = Link(port, 115_200, SECONDS)
        assert "another program has it" in refused(port)
        link.close()


@pytest.mark.parametrize("length", [0, 1, 253, 254, 255, 508, 509, 2000])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_any_bytes_survive_the_coding(length, share):
    rng = np.random.default_rng(length)
    content = (rng.integers(1, 256, length) * (rng.random(length) >= share)).astype(np.uint8).tobytes()
    assert unstuffed(stuffed(content)) == content and 0 not in stuffed(content)
    number = length % 256
    assert unframed(frame(b"c", number, content).strip(b"\0")) == (b"c", number, content)
