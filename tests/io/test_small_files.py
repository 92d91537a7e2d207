"""Text files from strangers: each fault is a CheckpointError that names the file, in little time and memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import CheckpointError
from zoo.io.small_files import front_matter, read_json, read_text, read_yaml
from zoo.io.text import shorten

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
BAD_YAML = {
    "aliases": (LAUGHS, "aliases"),
    "date": ("x: 2024-13-45", "month"),
    "integer": ("x: " + "9" * 5000, "digits"),
    "integer of base 60": ("x: 1" + ":1" * 500_000, "digits"),
    "tagged integer": ("x: !!int " + "9" * 500_000, "digits"),
    "brackets": ("x: " + "[" * 5000, "nested too deeply"),
    "number as key": ("a: {1: 2}", "the key 1 is not text"),
    "list as key": ("? [a]\n: b", "unhashable"),
    "python": ("x: !!python/object/apply:os.system [ls]", "python"),
    "brackets, many": ("x: " + "[" * 1_000_000, "nested too deeply"),
    "indents": ("".join(" " * n + "a:\n" for n in range(1000)), "nested too deeply"),
    "tagged": ("- !!int 1\n" * 100_000 + "- *a", "aliases"),
    "list": ("x: [" + "1, " * 200_000 + "&a b, *a]", "aliases"),
    "open list": ("x: [" + "1, " * 200_000, "expected|did not find"),
    "zero byte": ("x: \0", "special characters|control characters"),
    "too large": ("x: " + "a" * (1 << 20), "larger than 1 MiB"),
}


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(("text", "reason"), BAD_YAML.values(), ids=BAD_YAML)
def test_bad_yaml(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=f"config.yaml: .*{reason}"):
        read_yaml(write(tmp_path, "config.yaml", text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        ("{", "cannot be read as JSON"),
        ("[]", "must hold a JSON object, not a list"),
    ],
    ids=["lists", "objects", "integer", "open", "list"],
)
def test_bad_json(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: .*{reason}"):
        read_json(write(tmp_path, "config.json", text))


def test_only_regular_files_of_text_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "loop").symlink_to("loop")
    write(tmp_path, "pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    reasons = {
        "pipe": "not a regular file",
        "device": "not a regular file",
        "": "not a regular file",
        "bytes": "cannot be read as UTF-8",
        "loop": "no such file|cannot be read",
        "missing": "no such file",
        "a\0b": "no such file",
        "pointer": "git lfs pull",
    }
    for name, reason in reasons.items():
        with pytest.raises(CheckpointError, match=reason):
            read_text(tmp_path / name)
    with pytest.raises(CheckpointError, match="larger than"):
        read_text(write(tmp_path, "large", "x" * (2 << 20)), limit=1 << 20)
    assert read_text(write(tmp_path, "full", "x" * (1 << 20)), limit=1 << 20) == "x" * (1 << 20)


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("---\nlicense: mit\ntags: [a, b]\n---\n# Title\n", {"license": "mit", "tags": ["a", "b"]}),
        ("---\r\nlicense: mit --- or so\r\n---\r\n", {"license": "mit --- or so"}),
        ("# Title\n---\na: b\n---\n", {}),
        ("---\nnever closed: yes\n", {}),
        ("---\n- a\n---\n", {}),
        ("", {}),
    ],
)
def test_front_matter(tmp_path: Path, text: str, metadata: dict[str, Any]) -> None:
    assert front_matter(write(tmp_path, "README.md", text)) == metadata


def test_values_in_messages_are_short() -> None:
    shared: list[Any] = []
    for _ in range(80):
        shared = [shared, shared, shared]
    for value in (shared, tuple(shared), {"a": shared}, "x" * 10**7, b"x" * 10**6, 10**9000, list(range(10**6))):
        assert len(shorten(value)) <= 80
    assert shorten("red") == "'red'"
    assert shorten([1, "two", None]) == "[1, 'two', None]"
    assert shorten(-(10**30)) == "-1" + "0" * 30
