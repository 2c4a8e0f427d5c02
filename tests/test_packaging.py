import ast
import importlib.metadata
import pathlib
import re
import sys

PACKAGE = pathlib.Path(__file__).parent.parent / "odn_keras"


def test_whatever_is_imported_is_declared():
    """An import that only this environment happens to satisfy fails on a user's machine."""
    imported = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            imported.update({name.partition(".")[0]: path.name for name in names})
    imported = {name: file for name, file in imported.items() if name not in {*sys.stdlib_module_names, "odn_keras"}}
    declared = {_normal(re.split(r"[<>=!~;\[ ]", text)[0]) for text in importlib.metadata.requires("odn_keras")}
    provided = importlib.metadata.packages_distributions()
    undeclared = {
        name: file
        for name, file in imported.items()
        if not declared & {_normal(distribution) for distribution in provided.get(name, [name])}
    }
    assert undeclared == {}


def _normal(distribution):
    return distribution.lower().replace("_", "-")
