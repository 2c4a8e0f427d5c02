import ast
import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tomllib

import odn_keras

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "odn_keras"


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
    declared = {_normal(re.split(r"[<>=!~;\[ ]", text)[0]) for text in _requirements()}
    provided = importlib.metadata.packages_distributions()
    undeclared = {
        name: file
        for name, file in imported.items()
        if not declared & {_normal(distribution) for distribution in provided.get(name, [name])}
    }
    assert undeclared == {}


def test_type_checkers_and_editors_see_the_names_that_the_package_loads():
    (block,) = (node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if _is_for_type_checkers(node))
    seen = {alias.asname: f"{node.module}.{alias.name}" for node in block.body for alias in node.names}
    attributes = {name: f"odn_keras.{home}.{name}" for name, home in odn_keras._HOMES.items()}
    assert seen == attributes | {name: f"odn_keras.{home}" for name, home in odn_keras._MODULES.items()}
    assert sorted(seen) == odn_keras.__all__ == dir(odn_keras)


def test_importing_the_package_imports_nothing_but_python_and_itself():
    code = "import sys; before = set(sys.modules); import odn_keras; print(*set(sys.modules) - before)"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    imported = {name.partition(".")[0] for name in printed}
    assert "odn_keras" in imported and imported <= {"odn_keras", *sys.stdlib_module_names}


def _requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]


def _normal(distribution):
    return distribution.lower().replace("_", "-")


def _is_for_type_checkers(node) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
