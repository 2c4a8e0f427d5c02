"""What is read as a latency table, and what is refused."""

import dataclasses
import json

import pytest

from odn_keras import InputError
from odn_keras.devices.latency_table import LatencyTable

STORED = {"runtime": "a clock", "machine": "ours", "vela": None, "call_ms": 0.1, "factor": 1.0, "parts_ms": {"a": 1.0}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("[]", "no object but '[]'"),
        ("7", "no object but '7'"),
        ("[" * 100_000, "recursion"),
        ("{}", "has no 'runtime'"),
        *(
            (json.dumps(STORED | changed), words)
            for changed, words in [
                ({"runtime": 3}, "runtime must be text, got 3"),
                ({"vela": []}, "vela must be text"),
                ({"call_ms": float("nan")}, "'call_ms' must be a number of milliseconds of at least 0, got nan"),
                ({"factor": 0}, "'factor' must be above 0"),
                ({"factor": True}, "got True"),
                ({"parts_ms": {}}, "parts_ms must name the parts"),
                ({"parts_ms": [1]}, "parts_ms must name the parts"),
                ({"parts_ms": {"a": float("inf")}}, "'a' must be a number"),
                ({"parts_ms": {"a": -1e-9}}, "'a' must be a number"),
                ({"parts_ms": {"a": "1"}}, "'a' must be a number"),
                ({"parts_ms": {"a": 10**400}}, "'a' must be a number"),
            ]
        ),
    ],
)
def test_what_is_no_latency_table_is_refused(tmp_path, text, words):
    (tmp_path / "latency.json").write_text(text)
    with pytest.raises(InputError, match="is no latency table") as refused:
        LatencyTable.load(tmp_path / "latency.json")
    assert words in str(refused.value) and len(str(refused.value)) < 400


def test_a_table_that_was_written_is_read_again(tmp_path):
    table = LatencyTable(**STORED)
    (tmp_path / "latency.json").write_text(json.dumps({**dataclasses.asdict(table), "checks": []}))
    assert LatencyTable.load(tmp_path / "latency.json") == table
    for nowhere in (tmp_path, tmp_path / "gone.json"):
        with pytest.raises(InputError, match="no latency table"):
            LatencyTable.load(nowhere)
