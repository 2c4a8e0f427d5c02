import json

import pytest

from odn_keras import Block, Convolution, InputError, NetworkSpec, build, footprint, register_backbone
from odn_keras.networks import backbones
from odn_keras.networks.backbones import canonical, find

MINE = {
    "name": "mine",
    "width": 8,
    "stem": {"channels": 1, "activation": "relu6"},
    "blocks": [
        {"convolutions": [{"depthwise": True}, {"channels": 1, "kernel": 1, "activation": None}]},
        {"convolutions": [{"channels": 2, "stride": 2}], "shortcut": None, "activation": None},
        {"convolutions": [{"channels": 2}], "shortcut": "project"},
    ],
}


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(backbones, "_registered", {})


def changed(place, value):
    """The description with another value at a place such as ("blocks", 0, "shortcut")."""
    described = json.loads(json.dumps(MINE))
    part = described
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    return described


def test_a_file_a_call_and_a_description_give_the_same_backbone(tmp_path, registry):
    (tmp_path / "mine.json").write_text(json.dumps(MINE))
    registered = register_backbone("mine", MINE["blocks"], stem=MINE["stem"], width=8)
    objects = register_backbone(
        "mine",
        [
            Block([Convolution(depthwise=True), Convolution(1, kernel=1, activation=None)]),
            Block([Convolution(2, stride=2)], shortcut=None, activation=None),
            Block([Convolution(2)], shortcut="project"),
        ],
        stem=Convolution(1, activation="relu6"),
        width=8,
    )
    text = canonical(tmp_path / "mine.json")
    assert registered == objects == find(text)
    assert canonical("mine") == canonical(objects) == canonical(text) == text
    assert NetworkSpec("mine", (8, 8, 1), 2) == NetworkSpec(text, (8, 8, 1), 2, width=8)


def test_a_spec_knows_its_backbone_where_it_was_never_registered(registry):
    register_backbone("mine", MINE["blocks"], width=4)
    spec = NetworkSpec("mine", (8, 8, 1), 2)
    backbones._registered.clear()
    again = NetworkSpec(**json.loads(json.dumps(vars(spec))))
    assert again == spec and again.name == "mine" and again.width == 4
    assert build(again, 3).name == "mine_depth3"


def test_a_file_without_a_name_is_called_as_the_file(tmp_path):
    (tmp_path / "small net.json").write_text(json.dumps({"blocks": MINE["blocks"]}))
    spec = NetworkSpec(tmp_path / "small net.json", (8, 8, 1), 2, width=2)
    assert spec.name == "small net"
    assert build(spec, 1).count_params() > 0


def test_the_package_has_its_backbones_by_name():
    for name, backbone in backbones.BACKBONES.items():
        assert canonical(name) == canonical(backbone) == name
        assert NetworkSpec(name, (32, 32, 3), 10).width == backbone.width


def test_mobilenetv2_has_the_channels_of_the_paper():
    spec = NetworkSpec("mobilenetv2", (32, 32, 3), 10)
    channels = [spec.out_channels(number) for number in range(spec.max_depth + 1)]
    assert channels == [32, 16, 24, 24, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    assert [spec.inner_channels(number) for number in (1, 2, 3, 17)] == [(), (96,), (144,), (960,)]


FIRST, SECOND = ("blocks", 0, "convolutions"), ("blocks", 1, "convolutions")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((*FIRST, 1, "kernel"), 0, r"blocks\[0\]\.convolutions\[1\]: kernel .* from 1 to 15, got 0"),
        ((*FIRST, 1, "kernel"), 3.0, r"kernel must be a whole number from 1 to 15, got 3\.0"),
        ((*FIRST, 1, "stride"), True, r"stride must be a whole number from 1 to 4, got True"),
        ((*SECOND, 0, "channels"), 0, r"blocks\[1\]\.convolutions\[0\]: channels must be .* got 0"),
        ((*SECOND, 0, "channels"), "2", "channels must be a multiple of the width, .* got '2'"),
        ((*SECOND, 0, "channels"), float("nan"), "channels must be a multiple of the width, .* got nan"),
        ((*FIRST, 0, "channels"), 2, r"convolutions\[0\]: depthwise filters have the channels of"),
        ((*FIRST, 0, "depthwise"), 1, "depthwise must be true or false, got 1"),
        ((*FIRST, 0, "activation"), "gelu", r'activation must be "relu", "relu6" or null, got \'gelu\''),
        (("blocks", 2, "convolutions"), [], r"blocks\[2\]: convolutions must name at least one"),
        (("blocks", 2, "convolutions"), {}, r"blocks\[2\]\.convolutions must be a list, got {}"),
        (("blocks", 2, "shortcut"), "add", r'blocks\[2\]: shortcut must be "project", "identity" or null, got \'add\''),
        (("blocks", 2, "kernel"), 3, r"blocks\[2\] has an unknown entry 'kernel': choose from convolutions, shortcut,"),
        (("blocks", 2), 7, r"blocks\[2\] must be an object, got 7"),
        (("blocks", 2), {}, r"blocks\[2\] must have convolutions"),
        (("blocks",), [], "blocks must be 1 to 256, got 0"),
        (("stem", "depthwise"), True, "stem: depthwise filters have the channels"),
        (("stem",), {"depthwise": True}, "stem must not be depthwise"),
        (("width",), 0, "width must be a whole number from 1 to 1024, got 0"),
        (("name",), "resnet18", "'resnet18' is a backbone of the package"),
        (("name",), "", "name must be a text of 1 to 80 characters, got ''"),
        (("name",), [1], r"name must be a text of 1 to 80 characters, got \[1\]"),
        (("depth",), 3, "unknown entry 'depth'"),
    ],
)
def test_a_wrong_description_is_refused_with_its_place(tmp_path, place, value, message):
    (tmp_path / "mine.json").write_text(json.dumps(changed(place, value)))
    with pytest.raises(InputError, match=message) as refused:
        canonical(tmp_path / "mine.json")
    assert str(tmp_path / "mine.json") in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no JSON"),
        ("[]", r"must be an object, got \[\]"),
        ("{}", "must have blocks"),
        ("[" * 100_000, "is no JSON"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_file_that_describes_nothing_is_refused(tmp_path, content, message):
    (tmp_path / "mine.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message):
        canonical(tmp_path / "mine.json")


@pytest.mark.parametrize("backbone", ["resnet19", "none.json", "", None, 18, {"blocks": []}])
def test_what_is_no_backbone_is_refused(backbone):
    with pytest.raises(InputError, match="backbone"):
        canonical(backbone)


def test_a_name_of_the_package_cannot_be_registered(registry):
    with pytest.raises(InputError, match="'resnet18' is a backbone of the package"):
        register_backbone("resnet18", MINE["blocks"])


def test_half_a_channel_is_at_least_one():
    half = [Block([Convolution(0.5), Convolution(0.2)], shortcut=None)]
    spec = NetworkSpec(backbones.Backbone("half", half), (8, 8, 1), 2, width=1)
    assert spec.inner_channels(1) == (1,) and spec.out_channels(1) == 1
    assert footprint.macs(spec, 1) == 64 * (9 + 9 + 9) + 2
