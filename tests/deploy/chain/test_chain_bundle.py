import importlib.util

import pytest

from odn_keras import NetworkSpec, build
from odn_keras.deploy.chain import chain_bundle, chain_table

pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")


def test_without_tflite_micro_the_arenas_are_not_measured(digits, monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tflite_micro" else found(name))
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=2, exits=(1,)), 2)
    result = chain_bundle.export_routed(network, digits, tmp_path / "routed")
    assert [stage["arena_bytes"] for stage in result["stages"]] == [None, None]
    assert "arenas were not measured" in chain_table.table(result)
    assert "kModelBytes" in (text := (tmp_path / "routed" / "stage1.h").read_text()) and "kArenaBytes" not in text
