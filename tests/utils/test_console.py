import io

import pytest

from odn_keras.utils import console


@pytest.mark.parametrize(
    ("encoding", "errors", "printed"),
    [
        ("utf-8", "strict", "猫 caf\\udce9".encode()),
        ("cp1252", "strict", b"\\u732b caf\\udce9"),
        ("ascii", "surrogateescape", b"\\u732b caf\\udce9"),
        ("utf-8", "surrogateescape", "猫 caf".encode() + b"\xe9"),  # the name's own bytes, as the C locale has it
    ],
)
def test_every_text_can_be_printed(encoding, errors, printed):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=errors)
    console.never_fail(stream)
    print("猫 caf\udce9", end="", file=stream, flush=True)
    assert raw.getvalue() == printed


def test_a_stream_that_is_no_file_stays_as_it_is():
    stream = io.StringIO()
    console.never_fail(stream)
    stream.write("猫")
    assert stream.getvalue() == "猫"


def test_control_characters_are_escaped_and_no_others():
    assert console.printable("a\tb\x1b[31m\u2028\x85") == r"a\tb\x1b[31m\u2028\x85"
    assert console.printable("häftig 猫 👩‍🔬 caf\udce9 a\\b '") == "häftig 猫 👩‍🔬 caf\udce9 a\\b '"
