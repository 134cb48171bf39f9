"""Rules of style that a linter does not know. They only ever tighten."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    if (ROOT / name).is_file()
]
PYTHON = [path for path in FILES if path.suffix == ".py"]
SOURCES = [path for path in PYTHON if "src" in path.relative_to(ROOT).parts]
SQL = ROOT / "src/watchkeeper_server/store/sql"


def test_nothing_is_left_for_later() -> None:
    later = re.compile("|".join(rf"\b{word}\b" for word in ("TO" + "DO", "FIX" + "ME", "XX" + "X")))
    texts = [path for path in FILES if path.suffix in {".py", ".sql", ".ts", ".svelte", ".md", ".toml"}]
    assert [path for path in texts if later.search(path.read_text())] == []


def test_no_module_has_more_than_450_lines() -> None:
    assert [path.name for path in SOURCES if len(path.read_text().splitlines()) > 450] == []


def test_lock_files_name_no_registry() -> None:
    python = (ROOT / "requirements.lock").read_text()
    assert "--hash" in python
    assert "http" not in re.sub(r"[\w-]*http[\w-]*==", "", python)
    packages = [path for path in FILES if path.name == "package-lock.json"]
    assert packages
    assert [path for path in packages if '"resolved"' in path.read_text()] == []


def test_every_statement_in_a_file_is_used() -> None:
    code = "".join(path.read_text() for path in SOURCES)
    tables = {"stored_days"}  # named by the table they ask
    unused = [
        path.stem
        for path in SQL.glob("*.sql")
        if re.search(rf'"{path.stem}[".]', code) is None and not any(path.stem.startswith(prefix) for prefix in tables)
    ]
    assert unused == []


@pytest.mark.parametrize("folder", ["docs/decisions"])
def test_decisions_are_numbered_without_gaps(folder: str) -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / folder).glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_option_of_serve_is_in_the_readme_or_the_docs() -> None:
    docs = "".join(path.read_text() for path in FILES if path.suffix == ".md")
    options = re.findall(r'"(--[a-z-]+)"', (ROOT / "src/watchkeeper_server/cli/commands.py").read_text())
    assert [option for option in options if option not in docs] == []


def test_every_metric_of_the_server_is_documented() -> None:
    telemetry = (ROOT / "src/watchkeeper_server/telemetry.py").read_text()
    condition = (ROOT / "src/watchkeeper_server/condition.py").read_text()
    names = re.findall(r'_counter\("(\w+)"', telemetry) + re.findall(r'"watchkeeper_(\w+)"', telemetry)
    names += re.findall(r'gauge\(\s*"(\w+)"', condition)
    assert len(names) >= 12
    guide = (ROOT / "docs/guides/server.md").read_text()
    assert [name for name in names if f"watchkeeper_{name}" not in guide] == []
