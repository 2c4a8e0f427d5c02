import pathlib

import pytest

from odn_keras import InputError
from odn_keras.deploy.export_choices import ExportChoices
from odn_keras.deploy.micro.vela import compile_for_ethos_u
from odn_keras.deploy.tflite_file import flatbuffer

pytest.importorskip("ethosu", reason="Vela is not installed: pip install 'odn_keras[vela]'")
DIGITS = pathlib.Path(__file__).parents[3] / "tflite_models" / "digits.tflite"


def test_every_operator_runs_on_the_npu(tmp_path):
    target = tmp_path / "compiled.tflite"
    estimate = compile_for_ethos_u(DIGITS, "ethos-u55-128", target)
    model = flatbuffer.read_model(target.read_bytes())
    (entry,) = (entry for entry in model.metadata if entry.name == flatbuffer.METADATA)  # Vela's own plan
    assert len(model.buffers[entry.buffer].data) == 4 * (3 + len(model.subgraphs[0].tensors))
    assert estimate.cpu_operators == 0
    assert 8 * 8 * 64 < estimate.sram_bytes < 200_000
    assert 30_000 < estimate.flash_bytes < 2 * DIGITS.stat().st_size
    assert 0 < estimate.milliseconds < 10


@pytest.mark.parametrize("configuration", ["ethos-u55-128", "ethos-x"])
def test_what_vela_cannot_compile_is_refused_in_one_line(tmp_path, configuration):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"no model" if configuration == "ethos-u55-128" else DIGITS.read_bytes())
    with pytest.raises(InputError, match=r"Vela compiles for|not a readable .tflite file") as refused:
        compile_for_ethos_u(path, configuration, tmp_path / "compiled.tflite")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "compiled.tflite").exists()


def test_an_unknown_accelerator_is_refused_before_anything_is_converted():
    with pytest.raises(InputError, match=r"ethos-u55-128, .* got 'ethos-u1'"):
        ExportChoices(targets=(), vela="ethos-u1").check()
