"""Devices by name: what a board leaves for a network, from a file of well-known ones and from a user's own."""

import dataclasses
import difflib
import math
import os
import pathlib
import tomllib
from dataclasses import dataclass
from typing import Any

from odn_keras.errors import InputError
from odn_keras.networks.budget import KB, Budget, Room
from odn_keras.networks.footprint import parse_bytes
from odn_keras.networks.kernels import CMSIS_NN, KERNELS, REFERENCE

LIST = "list"  # instead of a name
KNOWN = pathlib.Path(__file__).with_name("boards.toml")
# What the rest of a program needs: the code of the runtime with its messages, by kernels, and a program of 32 KB; 3 KB
# of the runtime's data, a stack of 4 KB, and 16 KB for the program with its image.
RESERVED_FLASH = {REFERENCE: (64 + 32) * KB, CMSIS_NN: (98 + 32) * KB}
RESERVED_RAM = (3 + 4 + 16) * KB
SIZES = ("flash", "ram", "reserved_flash", "reserved_ram")  # in bytes
CLOCKS = ("clock_mhz", "cycles_per_instruction")


@dataclass(frozen=True)
class Board:
    """A device that runs TFLite Micro.

    Attributes:
        name: of the board.
        chip, core: its microcontroller, and the processor in it.
        clock_mhz: of the processor.
        flash: bytes for the program.
        ram: bytes in one piece.
        kernels: one of `odn_keras.networks.kernels.KERNELS`.
        source: where these figures are from, addresses with a space between them.
        cycles_per_instruction: an assumption, not measured; `None` where no time can be predicted.
        vela: configuration of its Ethos-U; `None` without one.
        reserved_flash: bytes for runtime and program; default: by kernels.
        reserved_ram: bytes for runtime, stack and program.
    """

    name: str
    chip: str
    core: str
    clock_mhz: float
    flash: int
    ram: int
    kernels: str
    source: str
    cycles_per_instruction: float | None = None
    vela: str | None = None
    reserved_flash: int | None = None
    reserved_ram: int = RESERVED_RAM

    def room(self, kernels: str, reserved_flash: int | None = None, reserved_ram: int | None = None) -> Room:
        """What the board leaves for a network.

        Args:
            kernels: that run it.
            reserved_flash: bytes for all else; default: the board's.
            reserved_ram: the same.

        Raises:
            InputError: where nothing is left.
        """
        usual = self.reserved_flash or RESERVED_FLASH[kernels]
        left = {
            "flash": (self.flash, usual if reserved_flash is None else reserved_flash),
            "ram": (self.ram, self.reserved_ram if reserved_ram is None else reserved_ram),
        }
        for name, (whole, reserved) in left.items():
            if whole <= reserved:
                raise InputError(
                    f"{self.name} has {whole // KB:,} KB of {name.replace('ram', 'RAM')}, of which runtime and program "
                    f"are taken to need {reserved // KB:,} KB: where yours need less, say so with --reserved_{name}"
                )
        flash, ram = (whole - reserved for whole, reserved in left.values())
        predictable = self.cycles_per_instruction and not self.vela
        speed = 1000 * self.clock_mhz / self.cycles_per_instruction if predictable else None  # type: ignore[operator]
        return Room(self.name, flash, ram, speed)


def boards(file: str | os.PathLike | None = None) -> dict[str, Board]:
    """The boards by name: the well-known ones, and those of a user's file, which may replace them.

    Raises:
        InputError: where the user's file cannot be read, or describes a board that cannot be.
    """
    return _read(KNOWN) | (_read(pathlib.Path(file).expanduser()) if file else {})


def find(name: str, file: str | os.PathLike | None = None) -> Board:
    """The board of that name.

    Raises:
        InputError: where there is none.
    """
    known = boards(file)
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3)
        meant = f" ({', '.join(near)}?)" if near else ""
        raise InputError(f"no device {name!r} is known{meant}: see --device={LIST}, or describe it in a --device_file")
    return known[name]


def table(known: dict[str, Board]) -> str:
    """The boards, for people."""
    lines = [
        f"{'device':<20}{'chip':<16}{'core':<28}{'MHz':>5}{'flash, KB':>11}{'RAM, KB':>9}  {'kernels':<11}for a model"
    ]
    for board in known.values():
        flash = board.flash - (board.reserved_flash or RESERVED_FLASH[board.kernels])
        sizes = f"{board.clock_mhz:>5g}{board.flash // KB:>11,}{board.ram // KB:>9,}"
        left = f"{max(0, flash) // KB:,} + {max(0, board.ram - board.reserved_ram) // KB:,}"
        lines.append(f"{board.name:<20}{board.chip:<16}{board.core:<28}{sizes}  {board.kernels:<11}{left}")
    lines += [
        "",
        "For a model: KB of flash and RAM less what runtime, stack and program are taken to need; --reserved_flash",
        "and --reserved_ram say otherwise. A device of your own goes into a --device_file of the same form as",
        os.fspath(KNOWN),
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Wanted:
    """What a user says of a device; every field may be left out.

    Attributes:
        device: the name of a board.
        device_file: the user's own boards.
        reserved_flash, reserved_ram: bytes for all but the model, as 64KB.
        kernels: one of `KERNELS`; default: the board's, or the portable ones.
        max_flash, max_arena: bytes as 64KB; default: what the board leaves.
        max_macs, max_latency_ms: of an image.
    """

    device: str | None = None
    device_file: str | None = None
    reserved_flash: str | None = None
    reserved_ram: str | None = None
    kernels: str | None = None
    max_flash: str | None = None
    max_arena: str | None = None
    max_macs: int | None = None
    max_latency_ms: float | None = None

    @classmethod
    def of(cls, options: Any) -> "Wanted":
        """The fields that an object has, such as the options of a run."""
        fields = (field.name for field in dataclasses.fields(cls))
        return cls(**{name: getattr(options, name) for name in fields if hasattr(options, name)})

    @property
    def board(self) -> Board | None:
        """The device; `None` without one.

        Raises:
            InputError: where it is not known.
        """
        return find(self.device, self.device_file) if self.device is not None else None

    def budget(self) -> Budget:
        """The limits; those of the device where it is named, or smaller ones.

        Raises:
            InputError: for a device that is not known, what is no number of bytes, limits that exceed the device, or
                options that need a device.
        """
        latency, board = self.max_latency_ms, self.board
        if latency is not None and not 0 < latency < math.inf:
            raise InputError(f"--max_latency_ms must be above 0, got {latency}")
        sizes = {name: _bytes(getattr(self, name)) for name in ("max_flash", "max_arena")}
        kernels = self.kernels or (board.kernels if board else REFERENCE)
        limits = Budget(sizes["max_flash"], sizes["max_arena"], self.max_macs, latency, kernels)
        if board is None:
            for name in ("device_file", "reserved_flash", "reserved_ram"):
                if getattr(self, name) is not None:
                    raise InputError(f"--{name} is for --device: name one")
            return limits
        room = board.room(kernels, _bytes(self.reserved_flash), _bytes(self.reserved_ram))
        for name, most in (("max_flash", room.flash_bytes), ("max_arena", room.arena_bytes)):
            if (sizes[name] or 0) > most:
                raise InputError(
                    f"--{name}={sizes[name]:,} is more than {board.name} leaves for a model, {most:,} bytes"
                )
        return dataclasses.replace(
            limits,
            max_flash=sizes["max_flash"] or room.flash_bytes,
            max_arena=sizes["max_arena"] or room.arena_bytes,
            room=room,
        )

    def predicting_budget(self) -> Budget:
        """The limits, each of which can be predicted from an architecture alone.

        Raises:
            InputError: as `budget`, and for a limit of time on a device whose time cannot be predicted.
        """
        limits = self.budget()
        if limits.max_latency_ms is None or (limits.room and limits.room.instructions_per_ms):
            return limits
        if self.board is None:
            raise InputError("--max_latency_ms needs --device: the time depends on what runs the network")
        if self.board.vela:
            raise InputError(
                f"the time on the Ethos-U of {self.device} is Vela's to estimate, of a network that there is: leave "
                f"--max_latency_ms to odn_keras.specialize, after odn_keras.latency --vela={self.board.vela}"
            )
        raise InputError(
            f"no time is predicted for the {self.board.core} of {self.device}: leave --max_latency_ms out, and measure "
            "with odn_keras.evaluate --runtime=serial"
        )


def _bytes(text: str | None) -> int | None:
    return None if text is None else parse_bytes(text)


def _read(file: pathlib.Path) -> dict[str, Board]:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"the devices in {file} cannot be read ({reason})") from error
    return {name: _board(name, fields, file) for name, fields in found.items()}


def _board(name: str, fields: Any, file: pathlib.Path) -> Board:
    """A board as the file describes it, checked."""
    try:
        if not isinstance(fields, dict):
            raise ValueError(f"it must be a table, [{name}]")
        given = dict(fields)
        for size in SIZES:
            if size in given:
                given[size] = parse_bytes(str(given[size]))
        for clock in CLOCKS:
            if clock in given and not (isinstance(given[clock], int | float) and 0 < given[clock] < math.inf):
                raise ValueError(f"{clock} must be a number above 0, got {given[clock]!r}")
        for text in ("chip", "core", "source", "vela"):
            if not isinstance(given.get(text, ""), str):
                raise ValueError(f"{text} must be text, got {given[text]!r}")
        if given.get("kernels") not in KERNELS:
            raise ValueError(f"kernels must be one of {', '.join(KERNELS)}, got {given.get('kernels')!r}")
        return Board(name=name, **given)
    except TypeError as error:  # a field too many, or one missing
        reason = str(error).partition("__init__() ")[2]
        raise InputError(f"the device {name} in {file} is not described as boards are: {reason}") from error
    except (InputError, ValueError) as error:
        raise InputError(f"the device {name} in {file}: {error}") from error
