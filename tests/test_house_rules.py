"""The rules that keep the tree readable, checked: who may import whom, and how long things get."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden.build import tiny_gguf
from tests.golden.catalogue import QWEN2

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "wazn"
SOURCES = sorted(PACKAGE.rglob("*.py"))
EVERY_PYTHON_FILE = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]

BASE = {"errors", "settings", "machine", "topology"}  # modules that anyone may import
MAY_IMPORT = {
    "errors": set[str](),
    "settings": {"errors"},
    "topology": {"errors"},
    "machine": {"errors", "native", "topology"},
    "text": {*BASE},
    "native": {*BASE},
    "weights": {*BASE, "native"},
    "models": {*BASE, "native", "weights", "text"},
    "engine": {*BASE, "native", "weights", "text", "models"},
    "server": {*BASE, "native", "weights", "text", "models", "engine"},
    "weigh": {*BASE},
    "bench": {*BASE, "native", "weights", "text", "models", "engine", "__init__"},
    "plan": {*BASE, "weights", "bench"},
    "cli": {
        *BASE,
        "native",
        "weights",
        "text",
        "models",
        "engine",
        "server",
        "bench",
        "weigh",
        "plan",
        "__init__",
    },
    "__init__": {"errors", "engine"},
    "__main__": {"cli"},
}
SERVER_ONLY = ("wazn.server", "fastapi", "starlette", "uvicorn", "zmq")
OBSERVATORY_ONLY = ("wazn.weigh", "wazn.plan", "duckdb", "statsmodels")
NETWORK_ONLY = ("httpx", "huggingface_hub", "requests", "urllib3")


def _place(path: Path) -> str:
    """The package, or the top-level module, that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and place of everything of wazn that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "wazn":
                known = len(parts) > 1 and parts[1] in MAY_IMPORT
                yield node.lineno, parts[1] if known else "__init__"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    place = _place(path)
    allowed = MAY_IMPORT[place] | {place}
    wrong = [f"line {line}: {target}" for line, target in _imported(path) if target not in allowed]
    assert not wrong, f"{place} may import {sorted(allowed)}, but {path.name} has {wrong}"


@pytest.mark.parametrize("path", EVERY_PYTHON_FILE, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_stay_short(path: Path) -> None:
    wrong = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
            if length > 40:
                wrong.append(f"{node.name} has {length} lines")
    assert not wrong


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return (first.end_lineno or first.lineno) - first.lineno + 1 if is_docstring else 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_names_say_what_a_module_is_about(path: Path) -> None:
    assert path.stem not in ("utils", "util", "helpers", "helper", "manager", "common", "misc")


def _modules_after(code: str, *arguments: str) -> list[str]:
    """Every module a fresh interpreter has loaded after running ``code``."""
    listing = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules)), flush=True))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", listing + code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return modules


def _among(modules: list[str], names: tuple[str, ...]) -> list[str]:
    return [m for m in modules if any(m == name or m.startswith(name + ".") for name in names)]


def test_importing_wazn_loads_nothing_else() -> None:
    modules = _modules_after("import wazn")
    assert _among(modules, ("wazn",)) == ["wazn"]
    assert not _among(modules, ("numpy", *SERVER_ONLY, *NETWORK_ONLY, *OBSERVATORY_ONLY))


def test_chat_loads_neither_server_nor_network(tmp_path: Path) -> None:
    model = tiny_gguf(QWEN2, tmp_path / "tiny.gguf")
    modules = _modules_after(
        "from wazn.cli.main import main; main()",
        *("chat", str(model), "-p", "Hi", "--max-tokens", "2"),
    )
    assert "wazn.engine.engine" in modules
    assert not _among(modules, (*SERVER_ONLY, *NETWORK_ONLY, *OBSERVATORY_ONLY))
