"""`--help` of a command: a screen that names the flags, and a screen for each group of them."""

import dataclasses
import importlib
import re

import pytest

from odn_keras import train
from odn_keras.__main__ import COMMANDS
from odn_keras.runs.options import GROUPS, RunOptions
from odn_keras.utils.help_pages import SCREEN, WIDTH

pytestmark = pytest.mark.one_backend


@pytest.fixture
def page(run_command):
    """What a command prints for `--help`, or for `--help=topic`."""

    def read(name, topic=""):
        flag = f"--help={topic}" if topic else "--help"
        status, printed, error = run_command(importlib.import_module(f"odn_keras.{name}"), "--width=x", flag)
        assert (status, error) == (0, "")
        return printed

    return read


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "classify"])
def test_help_fits_on_a_screen_and_names_all_flags(page, name):
    overview, everything = page(name), page(name, "all")
    assert overview.count("\n") <= SCREEN and max(map(len, everything.splitlines())) <= WIDTH
    assert f"odn {name} " in overview  # an example
    explained = set(re.findall(r"^  --(?:\[no\])?(\w+)", everything, re.MULTILINE))
    assert len(explained) >= 1 and [flag for flag in explained if f"--{flag}" not in overview] == []


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_every_group_is_a_screen_with_an_example(page, group):
    text = page("train", group.name)
    assert text.count("\n") <= SCREEN and f"for example {group.example}" in text
    for flag in group.flags:
        assert f"{flag}=" in text or f"--[no]{flag} " in text


def test_every_option_of_a_run_is_in_one_group():
    grouped = [flag for group in GROUPS for flag in group.flags]
    assert len(grouped) == len(set(grouped))
    assert {field.name for field in dataclasses.fields(RunOptions)} <= set(grouped)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_the_example_of_a_group_can_be_given(run_command, monkeypatch, group):
    monkeypatch.setattr(train, "main", lambda: 0)
    assert run_command(train, *group.example.split()) == (0, "", "")


def test_defaults_and_choices_are_shown(page):
    assert "[0.1]" in page("train", "training") and "One of none, light" in page("train", "augmentation")
    assert "[0.0]" in page("train", "smaller")


def test_a_group_that_is_not_there_is_one_line(run_command):
    status, printed, error = run_command(train, "--help=everything")
    assert (status, printed, error.count("\n")) == (2, "", 1) and "choose one of folder, data, network" in error
