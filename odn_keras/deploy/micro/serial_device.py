"""Runs a file on a microcontroller at the end of a cable, which examples/microcontroller/serve.cc answers on.

`serve.h` describes the frames.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from odn_keras.deploy.runtimes import LiteRTClassifier, TensorClassifier, read_file
from odn_keras.errors import InputError

VERSION = 2  # of the frames
BAUD = 115_200
ATTEMPTS = 3
SECONDS = 5.0  # for an answer, besides the transfer and the time that the network takes
FIRST_IMAGE = 12  # times as long, as it is not known yet how long the network takes
SLOWER = 3  # times as long as the answer before took, at most
CLOCK = 1.2  # times the seconds that went by here, at most: two clocks never agree
POLL = 0.05  # seconds
BITS = 10  # of a byte on the line
LONG_ANSWER, MOST = 1024, 65_536  # bytes: of an answer of many classes; without a zero, more than any has
INFORMATION = struct.Struct("<BHHHHIII")


@dataclass(frozen=True)
class Information:
    """What a device says of itself.

    Attributes:
        version: of the frames.
        height, width, channels, classes: of its model.
        model_bytes, model_crc: size and CRC-32 of its `.tflite` file.
        arena_bytes: in use; 0 where the device does not know.
    """

    version: int
    height: int
    width: int
    channels: int
    classes: int
    model_bytes: int
    model_crc: int
    arena_bytes: int


class SerialClassifier(TensorClassifier):
    """A classifier on a device behind a serial port. Its answers are compared with those of LiteRT on this machine.

    Args:
        path: the int8 file that the device runs.
        port: such as `/dev/ttyACM0`.
        baud: bits per second, where the port has any; those of the device.
        seconds: to wait for an answer, besides transfer and network, before it is asked again; twelve times as long
            for the first image.

    Raises:
        InputError: where pyserial is missing, the port cannot be opened, or what is behind it does not answer, or runs
            another model; later, where it no longer answers.
    """

    timing = "on the device, without the cable"

    def __init__(
        self, path: str | os.PathLike, port: str | None = None, baud: int = BAUD, seconds: float = SECONDS
    ) -> None:
        self._here = LiteRTClassifier(path)
        if self._here.dtypes != [np.int8, np.int8]:
            raise InputError(f"a microcontroller runs files with int8 input and output, {path} is none")
        super().__init__(path, *self._here.tensor_details)
        if not port:
            raise InputError("a device behind a serial port needs --port, such as /dev/ttyACM0")
        self._link = Link(port, baud, seconds)
        self._took_ms, self._patience = 0.0, (FIRST_IMAGE - 1) * seconds
        self._images = self._agreeing = self._difference = 0
        try:
            self.information = self._checked(port)
        except BaseException:
            self.close()
            raise

    def _checked(self, port: str) -> Information:
        answer = self._link.ask(b"i")
        if len(answer) != INFORMATION.size or answer[0] != VERSION:
            raise self._link.other_version()
        found, content = Information(*INFORMATION.unpack(answer)), read_file(self._path)
        if (found.model_bytes, found.model_crc) != (len(content), zlib.crc32(content)):
            raise InputError(
                f"the device at {port} runs another model, for images of {found.height} x {found.width} x "
                f"{found.channels} in {found.classes} classes, of {found.model_bytes:,} bytes: {self._path} is not it; "
                "build the program with the model.cc of this file"
            )
        return found

    def _invoke(self, tensor: np.ndarray) -> np.ndarray:
        pixels = (tensor[0].astype(np.int16) + 128).astype(np.uint8)  # from which the device subtracts 128
        began = time.monotonic()
        answer = self._link.ask(b"c", pixels.tobytes(), self._patience)
        went_by = time.monotonic() - began
        if len(answer) != 4 + self.classes:
            raise InputError(f"the device answers with {len(answer)} bytes where {4 + self.classes} were expected")
        took = int.from_bytes(answer[:4], "little") / 1e6
        if took > CLOCK * went_by + POLL:
            raise InputError(
                f"the device says that an image took {took:.3g} s, and answered within {went_by:.3g} s: the clock that "
                "its program gives to Serve is wrong"
            )
        self._took_ms, self._patience = 1000 * took, min(self._patience, SLOWER * went_by)
        scores = np.frombuffer(answer[4:], np.int8)
        expected = self._here.answer(tensor)
        self._images += 1
        self._agreeing += int(scores.argmax() == expected.argmax())
        self._difference = max(self._difference, int(np.abs(scores.astype(int) - expected).max()))
        return scores[np.newaxis]

    def timed_run(self, pixels: np.ndarray) -> tuple[np.ndarray, float]:
        """As `run`, with the milliseconds that the device took."""
        return self.run(pixels), self._took_ms

    @property
    def details(self) -> dict[str, Any]:
        """The arena on the device, and how far its answers so far are those of LiteRT on this machine."""
        return {
            "arena_bytes": self.information.arena_bytes or None,
            "agreement": self._agreeing / self._images if self._images else None,
            "largest_difference_steps": self._difference,
        }

    @property
    def remarks(self) -> list[str]:
        """The same, for people."""
        arena = self.information.arena_bytes
        lines = [f"arena     {arena:,} bytes used on the device"] if arena else []
        if self._images:
            share = self._agreeing / self._images
            lines.append(
                f"agreement {share:.4f} of the classes with LiteRT on this machine, scores within {self._difference} "
                "steps of 1/256"
            )
        return lines

    def close(self) -> None:
        """Closes the port."""
        self._link.close()


class Link:
    """Questions and answers over a serial port.

    Args:
        port: such as `/dev/ttyACM0`.
        baud: bits per second.
        seconds: to wait for an answer, besides the transfer.

    Raises:
        InputError: where pyserial is missing, or the port cannot be opened.
    """

    def __init__(self, port: str, baud: int, seconds: float):
        try:
            import serial
        except ImportError as error:
            raise InputError("a serial port needs pyserial: pip install 'odn_keras[serial]'") from error
        self._port, self._baud, self._seconds, self._number, self._spoke = port, baud, seconds, 0, False
        self._too_slow: type[Exception] = serial.SerialTimeoutException
        self._pending = bytearray()
        try:
            self._serial = serial.Serial(port, baud, timeout=POLL, write_timeout=seconds, exclusive=True)
        except (OSError, ValueError) as error:  # of pyserial too
            raise InputError(f"the port {port} cannot be opened ({_why(error)})") from error

    def ask(self, kind: bytes, payload: bytes = b"", seconds: float = 0.0) -> bytes:
        """The payload of the device's answer to a question, which is repeated where it is lost.

        A repeated question is the same frame, so that a late answer is one to it too.

        Args:
            kind: of the question, one byte.
            payload: of the question.
            seconds: to wait longer than usual.

        Raises:
            InputError: where there is none, or the device refuses.
        """
        self._number = (self._number + 1) % 256
        question, heard = frame(kind, self._number, payload), bytearray()
        check = zlib.crc32(kind + bytes([self._number]) + payload).to_bytes(4, "little")
        transfer = BITS * (len(question) + LONG_ANSWER) / self._baud
        for _ in range(ATTEMPTS):
            try:
                if self._serial.write_timeout != self._seconds + transfer:
                    self._serial.write_timeout = self._seconds + transfer
                self._serial.write(question)
            except self._too_slow:
                continue
            except OSError as error:  # of pyserial too
                raise self._gone(error) from error
            for answer, number, content in self._heard(self._seconds + transfer + seconds, heard):
                if number != self._number:
                    continue  # the answer to a question that was given up
                if content[:4] != check:
                    if answer == b"I" == kind.upper():  # the only question that is the same in every version
                        raise self.other_version()
                    continue  # the answer to another image
                self._spoke = True
                if answer == b"E":
                    raise self._refused(content[4:])
                if answer == kind.upper():
                    return content[4:]
        raise self._not_answered(bytes(heard), self._seconds + transfer + seconds)

    def _heard(self, seconds: float, heard: bytearray) -> Iterator[tuple[bytes, int, bytes]]:
        """The whole frames that arrive within so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                received = self._serial.read(max(1, self._serial.in_waiting))
            except OSError as error:
                raise self._gone(error) from error
            heard += received
            del heard[:-MOST]
            self._pending += received
            *frames, rest = self._pending.split(b"\0")
            self._pending = rest if len(rest) < MOST else bytearray()
            yield from filter(None, map(unframed, map(bytes, frames)))

    def other_version(self) -> InputError:
        """The error to raise where the device's frames are not these."""
        return InputError(f"the device at {self._port} speaks another version of serve.cc: build it anew")

    def _gone(self, error: OSError) -> InputError:
        return InputError(f"the device at {self._port} has gone ({error})")

    def _refused(self, reason: bytes) -> InputError:
        if reason == b"\2":
            return InputError(f"the model cannot run on the device at {self._port}: its own messages say why")
        return InputError(f"the device at {self._port} does not know what it is asked: build it with this serve.cc")

    def _not_answered(self, heard: bytes, waited: float) -> InputError:
        if self._spoke and not heard:
            return InputError(
                f"the device at {self._port} has answered before, and is silent now, {ATTEMPTS} times for "
                f"{waited:.3g} s: has its program stopped, or does an image take longer?"
            )
        if not heard:
            return InputError(
                f"the device at {self._port} is silent: is the program with serve.cc running on it, and {self._baud} "
                "its baud rate (--baud)?"
            )
        lines = [line.strip() for line in heard.decode("ascii", "replace").replace("\0", "\n").split("\n")[:-1]]
        printed = [line for line in lines if line and line.isprintable() and line.isascii()]
        says = f"; its last line: {printed[-1][:80]!r}" if printed else f": is {self._baud} its baud rate (--baud)?"
        return InputError(f"the device at {self._port} sends what is no answer, {len(heard):,} bytes or more{says}")

    def close(self) -> None:
        """Closes the port."""
        with contextlib.suppress(Exception):  # of a port that has gone: whatever its system raises
            self._serial.reset_output_buffer()  # or closing waits until a device that does not listen takes it
        self._serial.close()


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return "there is none of that name"
    if number in (errno.EACCES, errno.EPERM):
        return "you may not: join the group that owns it, often dialout"
    if number in (errno.EBUSY, errno.EAGAIN) or "lock" in str(error):
        return "another program has it"
    return str(error)


def frame(kind: bytes, number: int, payload: bytes) -> bytes:
    """A frame: see serve.h.

    >>> frame(b"i", 7, b"").hex(" ")
    '00 07 69 07 b2 57 82 6b 00'
    """
    content = kind + bytes([number]) + payload
    content += zlib.crc32(content).to_bytes(4, "little")
    return b"\0" + stuffed(content) + b"\0"


def unframed(encoded: bytes) -> tuple[bytes, int, bytes] | None:
    """Kind, number and payload of what stood between two zeros; `None` for what is no whole frame."""
    content = unstuffed(encoded)
    if content is None or len(content) < 6 or zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
        return None
    return content[:1], content[1], content[2:-4]


def stuffed(content: bytes) -> bytes:
    """Bytes without zeros that stand for any bytes: COBS.

    >>> stuffed(b"ab" + bytes(2) + b"c").hex(" ")
    '03 61 62 01 02 63'
    """
    encoded = bytearray()
    parts = content.split(b"\0")
    for last, part in ((index == len(parts) - 1, part) for index, part in enumerate(parts)):
        while len(part) >= 254:
            encoded += b"\xff" + part[:254]
            part = part[254:]  # noqa: PLW2901
            if last and not part:
                return bytes(encoded)
        encoded += bytes([len(part) + 1]) + part
    return bytes(encoded)


def unstuffed(encoded: bytes) -> bytes | None:
    """The reverse; `None` for what is nothing of the kind."""
    content, at = bytearray(), 0
    while at < len(encoded):
        code = encoded[at]
        block = encoded[at + 1 : at + code]
        at += code
        if code == 0 or len(block) != code - 1:
            return None
        content += block
        if code != 255 and at < len(encoded):
            content.append(0)
    return bytes(content)
