"""Writes the BUILD files below the top one: a target for every module with the modules it imports, and for every test.

python tests/build_files.py            writes them
python tests/build_files.py --check    names those that are not as they would be written, and fails if there are any
"""

import ast
import pathlib
import sys
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "odn_keras"
BASES = ("odn_keras", "benchmarks")
COMMANDS = ("train", "export", "evaluate", "classify", "specialize", "route", "latency", "compare")
HEADING = '# Written by tests/build_files.py.\n\npackage(default_visibility = ["//visibility:public"])\n'


def build_files() -> dict[pathlib.Path, str]:
    """Every BUILD file that there is to be, and what it is to hold."""
    code = {folder: _library(folder) for base in BASES for folder in _folders(ROOT / base)}
    tests = {folder: _tests(folder) for folder in _folders(ROOT / "tests")}
    return {folder / "BUILD": HEADING + text for folder, text in (code | tests).items()}


def stale() -> list[str]:
    """The BUILD files that are missing, or not as they would be written."""
    return [
        str(path.relative_to(ROOT))
        for path, text in build_files().items()
        if not path.exists() or path.read_text() != text
    ]


def _folders(base: pathlib.Path) -> list[pathlib.Path]:
    return sorted({path.parent for path in base.rglob("*.py")})


def _library(folder: pathlib.Path) -> str:
    """A py_library for every module, and one of the folder's name for all of them and the folders within."""
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    commands = [path for path in modules if folder == PACKAGE and path.stem in COMMANDS]
    libraries = [path for path in modules if path not in commands and path.stem != "__main__"]
    within = sorted(_label(path) for path in _folders(folder) if path.parent == folder)
    pages = sorted(path.name for path in folder.glob("*.html"))
    rules = [
        _rule("py_library", path.stem, srcs=[path.name], data=[*pages, *_data_of(path)], deps=_imported(path))
        for path in libraries
    ]
    everything = [*(f":{path.stem}" for path in libraries), *within]
    rules.append(_rule("py_library", folder.name, srcs=["__init__.py"], deps=everything))
    for path in commands:
        data = ["//:flags"] if path.stem == "train" else []
        rules.append(_rule("py_binary", path.stem, srcs=[path.name], data=data, deps=[f":{folder.name}"]))
    if commands:
        names = [path.name for path in commands]
        rules.append(_rule("py_library", "commands", srcs=["__main__.py", *names], deps=[f":{folder.name}"]))
        rules.append(_rule("py_binary", "odn", main="__main__.py", srcs=["__main__.py"], deps=[":commands"]))
    markers = ["py.typed"] if folder == PACKAGE else sorted(path.name for path in folder.glob("*.toml"))
    rules.append(_rule("filegroup", "sources", srcs=["BUILD", *markers]))
    return "".join(rules)


def _data_of(module: pathlib.Path) -> list[str]:
    """The file of data beside a module, of its name."""
    return [path.name for path in [module.with_suffix(".toml")] if path.exists()]


def _tests(folder: pathlib.Path) -> str:
    """A py_test for every file of tests."""
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    tests = [name.removesuffix(".py") for name in files if name.startswith("test_")]
    rules = [_rule("filegroup", "sources", srcs=sorted({*files, "BUILD"}))]
    if folder.name == "tests":
        groups = [_label(path, "sources") for base in (*BASES, "tests") for path in _folders(ROOT / base)]
        rules.append('\nexports_files(["run_pytest.py"])\n')
        needed = ["//benchmarks", "//odn_keras", "//odn_keras:commands"]
        rules.append(_rule("py_library", "testing", testonly=True, srcs=[], data=["//:sources", *groups], deps=needed))
    return "".join(rules) + (
        "\n[\n"
        "    py_test(\n"
        "        name = test,\n"
        '        size = "large",\n'
        '        srcs = [test + ".py", "//tests:run_pytest.py"],\n'
        f'        args = ["{folder.relative_to(ROOT)}/" + test + ".py"],\n'
        '        main = "//tests:run_pytest.py",\n'
        '        deps = ["//tests:testing"],\n'
        "    )\n"
        f"    for test in {_list(tests, 4)}\n"
        "]\n"
    )


def _imported(path: pathlib.Path) -> list[str]:
    """The targets of what a module imports from this repository, at its top or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] in ("odn_keras", "benchmarks")
        ):
            found |= {_target(node.module.split("."), alias.name) for alias in node.names}
    here = _label(path.parent, "")
    return sorted(label.replace(here, ":") for label in found)


def _target(parts: list[str], name: str) -> str:
    """The target of `from PARTS import NAME`."""
    base = ROOT.joinpath(*parts)
    if (base / f"{name}.py").exists():
        return _label(base, name)
    return _label(base) if base.is_dir() else _label(base.parent, base.name)


def _label(folder: pathlib.Path, name: str | None = None) -> str:
    return f"//{folder.relative_to(ROOT)}" + ("" if name is None else f":{name}")


def _rule(kind: str, name: str, *, testonly: bool = False, main: str = "", **lists: Iterable[str]) -> str:
    lines = [f'    name = "{name}",', *(["    testonly = True,"] if testonly else [])]
    lines += [f'    main = "{main}",'] if main else []
    lines += [f"    {key} = {_list(values, 4)}," for key, values in lists.items() if values]
    return "\n" + "\n".join([f"{kind}(", *lines, ")"]) + "\n"


def _list(values: Iterable[str], indent: int) -> str:
    """A list as Bazel's formatter has it: one on its line, several below each other."""
    quoted = [f'"{value}"' for value in values]
    if len(quoted) < 2:
        return f"[{''.join(quoted)}]"
    space = "\n" + " " * indent
    return "[" + "".join(f"{space}    {value}," for value in quoted) + f"{space}]"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(stale()) or None)
    for target, content in build_files().items():
        target.write_text(content)
