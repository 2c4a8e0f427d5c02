import pathlib
import zipfile

import numpy as np
import pytest

from odn_keras import InputError, LiteRTClassifier
from odn_keras.deploy.tflite_file.entries import write_entry
from odn_keras.deploy.tflite_file.reject_metadata import ENTRY, Reject, reject_of, write_reject
from odn_keras.deploy.tflite_file.resize_metadata import resize_of, write_resize

pytest.importorskip("ai_edge_litert")
DIGITS = pathlib.Path(__file__).parents[3] / "tflite_models" / "digits.tflite"


def test_a_file_says_what_it_withholds_and_answers_as_before(digits_file, digits):
    assert reject_of(digits_file) is None
    with zipfile.ZipFile(digits_file, "a") as archive:
        archive.writestr("labels.txt", "of the file")
    write_resize(digits_file, "crop")
    write_reject(digits_file, Reject(0.25, 0.9))
    size = digits_file.stat().st_size
    write_reject(digits_file, Reject(0.75, 0.98))
    assert reject_of(digits_file) == Reject(0.75, 0.98) and resize_of(digits_file) == "crop"
    assert digits_file.stat().st_size < size + 200  # the entry before is gone from the list
    assert zipfile.ZipFile(digits_file).read("labels.txt") == b"of the file"
    images = digits.test[0][:20]
    np.testing.assert_array_equal(
        LiteRTClassifier(digits_file).predict(images), LiteRTClassifier(DIGITS).predict(images)
    )


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b'{"least_confidence": 2, "promised_accuracy": 0.5}'])
def test_what_cannot_be_read_is_an_error_and_not_an_answer(digits_file, content):
    write_entry(digits_file, ENTRY, content)
    with pytest.raises(InputError, match="export it again"):
        reject_of(digits_file)
