"""SHA-256 of the code that decides a run's numbers.

That is every module that a cross-validation imports, directly or not, at module level or in a
function. Each is hashed as its syntax tree without docstrings, error texts and descriptions of
settings, so changing a text does not change the hash; a new version of Python may, because
`ast.dump` depends on it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_ROOT: Final = "training.runs.cross_validation"
_PACKAGES: Final = ("training", "app")
_WITHOUT_NUMBERS: Final = (
    "training.console",
    "training.storage",
    "training.errors",
    "app.core.errors",
)
"""Progress bars, files and errors."""
_LIBRARIES: Final = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "pillow", "scikit-learn")
_DOCUMENTED: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS: Final = ("body", "orelse", "finalbody", "handlers", "cases")
"""Fields of statements that hold statements."""


@cache
def code_sha256() -> str:
    """SHA-256 of the deciding code and of the versions of the numerical libraries."""
    digest = hashlib.sha256()
    for name, path in sorted(deciding_modules().items()):
        digest.update(f"{name} {ast.dump(_without_texts(_parsed(path)))}\n".encode())
    _parsed.cache_clear()  # a hundred trees are not needed again
    for name in _LIBRARIES:
        try:
            digest.update(f"{name} {metadata.version(name)} ".encode())
        except metadata.PackageNotFoundError:
            continue
    return digest.hexdigest()


def deciding_modules() -> dict[str, Path]:
    """Name and file of every module of this project that a cross-validation imports."""
    found: dict[str, Path] = {}
    waiting = [_ROOT]
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None or name in found or name.startswith(_WITHOUT_NUMBERS):
            continue
        found[name] = path
        waiting += _imports_of(_parsed(path))
    return found


def deciding_code(source: str) -> str:
    """Source code reduced to what can change a number."""
    return ast.dump(_without_texts(ast.parse(source)))


def _without_texts(tree: ast.Module) -> ast.Module:
    """Remove texts from a tree, in place."""
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            node.body = [statement for statement in node.body if not _is_text(statement)]
        elif isinstance(node, ast.Raise):
            node.exc = node.cause = None
        elif isinstance(node, ast.Call):
            node.keywords = [given for given in node.keywords if given.arg != "description"]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    """Whether it is a docstring, of the module, class or function or of a constant above it."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return False
    return isinstance(statement.value.value, str)


@cache
def _parsed(path: Path) -> ast.Module:
    """Parse a file once for its imports and its code, because parsing takes a third of the time."""
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports_of(tree: ast.Module) -> Iterator[str]:
    """What its statements import; expressions, which are most of a tree, import nothing."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for name in _BLOCKS:
            waiting += getattr(node, name, ())
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _file_of(name: str) -> Path | None:
    """The file of one of this project's modules; None for anything else."""
    package, *parts = name.split(".")
    spec = find_spec(package) if package in _PACKAGES else None
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], *parts)
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)
