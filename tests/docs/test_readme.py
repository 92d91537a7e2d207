"""The statements in README and in the documentation are true."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from zoo import corpora
from zoo.cli.main import app
from zoo.errors import MissingDependencyError

TOP = Path(__file__).resolve().parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md")), *sorted((TOP / "recipes").glob("*/README.md"))]
LINK = re.compile(r"""\]\(([^)\s#]+)[^)]*\)|(?:src|href)="([^"#]+)""")


def test_every_command_is_on_the_page_of_commands() -> None:
    page = (TOP / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    commands = get_command(app).commands  # type: ignore[attr-defined]
    names = [
        [name, *([inner] if inner else [])] for name, c in commands.items() for inner in getattr(c, "commands", [""])
    ]
    assert len(names) > 15
    assert [words for words in names if f"`zoo {' '.join(words)}" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [a or b for a, b in LINK.findall(page.read_text(encoding="utf-8"))]
    gone = [t for t in targets if not t.startswith(("http", "mailto")) and not (page.parent / t).exists()]
    assert gone == []


def test_the_speed_table_is_in_step_with_the_results() -> None:
    command = [sys.executable, "benchmarks/speed/summary.py", "--check"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_what_readme_shows_is_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for corpus in ("speech", "music"):
        corpora.build(corpus, "tiny", tmp_path / corpus)
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(TOP / "README.md"), module_relative=False, encoding="utf-8")
    assert tried > 6 and failed == 0, "see what it printed"


def test_commands_of_readme_exist() -> None:
    """Commands of zoo, and recipes."""
    text = (TOP / "README.md").read_text(encoding="utf-8")
    lines = [
        line for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()
    ]
    typed = [line.removeprefix("$ ").split() for line in lines if line.removeprefix("$ ").startswith("zoo ")]
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert typed and all(words[1] in commands for words in typed)
    modules = {words[2] for line in lines if (words := line.removeprefix("$ ").split())[:2] == ["python", "-m"]}
    assert modules and all((TOP / f"{name.replace('.', os.sep)}.py").is_file() for name in modules)


def test_every_result_is_explained() -> None:
    page = (TOP / "docs" / "numbers.md").read_text(encoding="utf-8")
    kinds = {re.sub(r"-\d{4}-\d\d-\d\d.*", "", path.name) for path in (TOP / "benchmarks" / "results").iterdir()}
    assert len(kinds) > 8 and [kind for kind in kinds if f"| `{kind}` |" not in page] == []


NAME = re.compile(r"\bzoo(?:\.[A-Za-z_]\w*)+")
EXAMPLES = {"zoo.models.peak.model"}  # the family that CONTRIBUTING adds


def _exists(dotted: str) -> bool:
    """Whether a dotted name is a module of zoo or something in one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:count]))
        except MissingDependencyError:  # an optional package is not installed here
            return True
        except ImportError:
            continue
        for attribute in parts[count:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False


@pytest.mark.parametrize("page", [TOP / "CONTRIBUTING.md", *PAGES], ids=lambda page: str(page.relative_to(TOP)))
def test_names_in_the_pages_exist(page: Path) -> None:
    names = set(NAME.findall(page.read_text(encoding="utf-8"))) - EXAMPLES
    assert sorted(name for name in names if not _exists(name)) == []


def test_the_members_of_the_reference_exist() -> None:
    missing = []
    for page in sorted((TOP / "docs" / "reference").glob("*.md")):
        blocks = re.findall(r"^::: (\S+)\n((?:    .*\n)*)", page.read_text(encoding="utf-8"), re.M)
        for module, options in blocks:
            members = re.search(r"members: \[([^\]]*)\]", options)
            names = [name.strip() for name in members[1].split(",")] if members else []
            missing += [f"{module}.{name}" for name in names if not _exists(f"{module}.{name}")]
    assert missing == []


PATH = re.compile(r"\b(?:zoo|tests|benchmarks|recipes|docs)/[\w./-]+\.(?:py|md|yaml|jsonl|txt)\b")


def test_paths_in_pages_and_code_exist() -> None:
    """Words in capitals stand for names, as in zoo/models/FAMILY/cards.py."""
    code = [
        path for folder in ("zoo", "tests", "benchmarks", "recipes") for path in sorted((TOP / folder).rglob("*.py"))
    ]
    missing = {
        f"{page.relative_to(TOP)}: {path}"
        for page in [TOP / "CONTRIBUTING.md", *PAGES, *code]
        for path in PATH.findall(page.read_text(encoding="utf-8"))
        if not re.search("[A-Z]{4}", path) and not (TOP / path).exists()
    }
    assert sorted(missing) == []
