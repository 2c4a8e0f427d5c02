"""What the documents show is what a reader may paste: the Python runs, the commands have the flags they are given."""

import importlib
import pathlib
import re
import shlex

import pytest

from odn_keras import InputError

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"(?:python -m odn_keras\.|\bodn )(train|export|evaluate|classify|specialize|route|latency)\b([^`\n#;]*)"
)

LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
NAMED_PATH = re.compile(r"`((?:odn_keras|tests|benchmarks|docs|examples|flags)/[\w./]*)`")


def shown(pattern: re.Pattern) -> list:
    """What the documents show of it, each with a name."""
    return [
        pytest.param(found, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, found in enumerate(pattern.findall(document.read_text().replace("\\\n", " ")), start=1)
    ]


@pytest.mark.parametrize("code", shown(PYTHON))
def test_python_runs_as_pasted(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "snippet", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("command", shown(COMMAND))
def test_commands_have_the_flags_they_are_given(command, run_command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)  # where the flagfiles lie
    name, line = command
    module = importlib.import_module(f"odn_keras.{name}")
    arguments = [argument for argument in shlex.split(line) if argument != "--help" and "..." not in argument]
    if name == "classify":  # which reads its arguments without absl

        def parsed(_):
            raise InputError("parsed")

        monkeypatch.setattr(module, "open_classifier", parsed)
        assert not arguments or (module.main(arguments), "parsed" in capsys.readouterr().err) == (2, True)
        return
    monkeypatch.setattr(module, "main", lambda: 0)
    status, _, error = run_command(module, *arguments)
    assert status == 0, error


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_linked_or_named_exists(document):
    text = document.read_text()
    missing = [path for path in NAMED_PATH.findall(text) if not (ROOT / path).exists()]
    for path, anchor in LINK.findall(text):
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(f"{path}#{anchor}")
    assert missing == []


def anchors(document: pathlib.Path) -> set[str]:
    """What GitHub makes of the headings of a document."""
    headings = HEADING.findall(document.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_backbone_that_is_described_is_the_one_that_python_makes(tmp_path, monkeypatch):
    from odn_keras.networks import backbones

    monkeypatch.setattr(backbones, "_registered", {})
    chapter = (ROOT / "docs" / "BACKBONES.md").read_text()
    (described,) = re.findall(r"```json\n(.*?)```", chapter, re.DOTALL)
    (tmp_path / "mine.json").write_text(described)
    made = next(code for code in re.findall(r"```python\n(.*?)```", chapter, re.DOTALL) if "register_backbone" in code)
    exec(made.split("\ndata =")[0], {})
    assert backbones.canonical("mine") == backbones.canonical(tmp_path / "mine.json")
