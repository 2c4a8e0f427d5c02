import zipfile

import pytest

from odn_keras import InputError
from odn_keras.deploy.tflite_file.labels import labels_of


@pytest.mark.parametrize("content", [b"a\nb c\n", b"\xef\xbb\xbfa\r\nb c\r\n", b"a\nb c"])
def test_lines_are_labels_however_they_end(digits_file, content):
    digits_file.with_name("labels.txt").write_bytes(content)
    assert labels_of(digits_file, 2) == ["a", "b c"]


def test_only_line_breaks_part_labels_and_no_byte_is_lost(digits_file):
    digits_file.with_name("labels.txt").write_bytes("a\tb\x1cc\u2028d\n".encode() + b"caf\xe9\n")
    assert labels_of(digits_file, 2) == ["a\tb\x1cc\u2028d", "caf\udce9"]


def test_a_file_without_labels_has_none(digits_file):
    assert labels_of(digits_file, 2) is None


@pytest.mark.parametrize("where", ["given", "beside", "embedded"])
@pytest.mark.parametrize(("lines", "message"), [(3, "has 3 labels"), (10**7, "too many for labels of 2 classes")])
def test_what_is_too_long_is_refused_before_it_is_read_whole(digits_file, where, lines, message):
    content = b"a\n" * lines
    path = digits_file.with_name("labels.txt" if where == "beside" else "given.txt")
    if where == "embedded":
        with zipfile.ZipFile(digits_file, "a", zipfile.ZIP_DEFLATED) as files:
            files.writestr("labels.txt", content)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        labels_of(digits_file, 2, path if where == "given" else None)


def test_labels_that_cannot_be_unpacked_are_refused(digits_file):
    with zipfile.ZipFile(digits_file, "a", zipfile.ZIP_DEFLATED) as files:
        files.writestr("labels.txt", b"some text that is packed " * 100)
    content = bytearray(digits_file.read_bytes())
    place = content.index(b"labels.txt") + len("labels.txt")
    content[place : place + 8] = b"\xff" * 8
    digits_file.write_bytes(content)
    with pytest.raises(InputError, match="cannot read the labels"):
        labels_of(digits_file, 2)
