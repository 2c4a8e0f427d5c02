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


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(DIGITS.read_bytes())
    return path


def test_a_file_says_what_it_withholds_and_answers_as_before(model, digits):
    assert reject_of(model) is None
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr("labels.txt", "of the file")
    write_resize(model, "crop")
    write_reject(model, Reject(0.25, 0.9))
    size = model.stat().st_size
    write_reject(model, Reject(0.75, 0.98))
    assert reject_of(model) == Reject(0.75, 0.98) and resize_of(model) == "crop"
    assert model.stat().st_size < size + 200  # the entry before is gone from the list
    assert zipfile.ZipFile(model).read("labels.txt") == b"of the file"
    images = digits.test[0][:20]
    np.testing.assert_array_equal(LiteRTClassifier(model).predict(images), LiteRTClassifier(DIGITS).predict(images))


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b'{"least_confidence": 2, "promised_accuracy": 0.5}'])
def test_what_cannot_be_read_is_an_error_and_not_an_answer(model, content):
    write_entry(model, ENTRY, content)
    with pytest.raises(InputError, match="export it again"):
        reject_of(model)
