"""Limits of size that no linter here enforces: files and functions stay readable in one go."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(file for folder in ("proxy", "grafana") for file in (ROOT / folder).rglob("*.py"))
MAX_FILE_LINES = 300
TOP = {
    *("config", "deploy", "docs", "grafana", "proxy", "tests"),
    *("CHANGELOG.md", "Dockerfile", "LICENSE", "Makefile", "README.md", "SECURITY.md"),
    *("docker-compose.yml", "pyproject.toml"),
}
MAX_FUNCTION_LINES = 60


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long(file: Path) -> None:
    source = file.read_text()
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {
        f"{node.name} in line {node.lineno}": lines
        for node in functions
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert not long
    assert len(source.splitlines()) <= MAX_FILE_LINES


def test_every_file_says_what_it_is_for() -> None:
    silent = [
        file for file in FILES if file.name != "__init__.py" and not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert not silent


def test_the_top_of_the_repository_holds_what_belongs_there() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {file.partition("/")[0] for file in listed.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= TOP
