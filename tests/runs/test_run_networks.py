import dataclasses

import pytest

from odn_keras import InputError, NetworkSpec, build
from odn_keras.runs.run_networks import load_supernet

SPEC = NetworkSpec("resnet18", (8, 8, 1), num_classes=3, width=2, exits=(1,))


@pytest.mark.parametrize(
    ("changed", "depth", "words"),
    [
        ({"width": 3}, 2, "layer stem_conv are .*, not"),
        ({"num_classes": 4}, 2, "layer block1_exit are"),
        ({"input_shape": (8, 8, 3)}, 2, "layer stem_conv"),
        ({"exits": ()}, 2, "layer block1_exit are missing"),
        ({}, 3, "layer head are .*, not"),
    ],
)
def test_a_supernet_of_another_run_is_refused(tmp_path, changed, depth, words):
    report = {"depth": 2, "supernet": {"spec": dataclasses.asdict(SPEC), "widths": False}}
    build(SPEC, 2).save(tmp_path / "supernet.keras")
    assert len(load_supernet(tmp_path, report).outputs) == 2
    build(dataclasses.replace(SPEC, **changed), depth).save(tmp_path / "supernet.keras")
    with pytest.raises(InputError, match=words):
        load_supernet(tmp_path, report)
