"""Small text files that may come from strangers: text, JSON, YAML, and the front matter of Markdown.

Every fault of such a file is a CheckpointError that names the file: it is missing, no regular file, too large, not
UTF-8, nested too deeply, or not JSON or YAML.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import CheckpointError
from zoo.io.text import shorten

TEXT_LIMIT = 32 << 20
"""Bytes of the largest text that is read; vocabularies of 250,000 tokens need some 17 MB."""
YAML_LIMIT = 1 << 20
_MOST_DIGITS = 4300  # as Python's own limit
_DEEPEST = 100  # mappings and lists in one another
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times as fast
_LFS = "version https://git-lfs.github.com/spec/"
LFS_ADVICE = (
    "a pointer of git-lfs, not the file itself; run `git lfs pull` in that folder, or download the repository with "
    "`hf download`"
)


def read_text(path: Path, limit: int = TEXT_LIMIT) -> str:
    """The content of a regular file of at most `limit` bytes of UTF-8. Raises CheckpointError."""
    check_regular(path)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    if len(content) > limit:
        raise CheckpointError(f"{path}: larger than {limit >> 20} MiB, too large for such a file")
    if text.startswith(_LFS):
        raise CheckpointError(f"{path}: {LFS_ADVICE}")
    return text


def check_regular(path: Path) -> None:
    """Raises CheckpointError unless `path` is a regular file: a pipe or a device may have no end."""
    try:
        exists, regular = path.exists(), path.is_file()
    except OSError as error:  # no permission, a name that is too long
        raise CheckpointError(f"{path}: cannot be looked up ({error.strerror})") from error
    if not exists:
        raise CheckpointError(f"{path}: no such file")
    if not regular:
        raise CheckpointError(f"{path}: not a regular file")


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what git-lfs leaves in a clone in place of a large file."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS.encode()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError."""
    content = read_json_value(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, not a {type(content).__name__}")
    return content


def read_json_value(path: Path) -> Any:
    """Any JSON value from a file. Raises CheckpointError."""
    text = read_text(path)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise CheckpointError(f"{path}: cannot be read as JSON (nested too deeply)") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error})") from error


def read_yaml(path: Path) -> Any:
    """A YAML value from a file. Raises CheckpointError, also for aliases and for keys that are not text."""
    text = read_text(path, YAML_LIMIT)
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read as YAML ({error})") from error


def front_matter(path: Path) -> dict[str, Any]:
    """The YAML mapping between two lines `---` at the top of a Markdown file; empty without one.

    Raises CheckpointError for one that cannot be read.
    """
    lines = read_text(path, YAML_LIMIT).splitlines()
    if not lines or lines[0].rstrip() != "---":
        return {}
    ends = [number for number, line in enumerate(lines) if number > 0 and line.rstrip() == "---"]
    if not ends:
        return {}
    try:
        metadata = parse_yaml("\n".join(lines[1 : ends[0]]))
    except ValueError as error:
        raise CheckpointError(f"{path}: its metadata cannot be read as YAML ({error})") from error
    return metadata if isinstance(metadata, dict) else {}


def parse_yaml(text: str) -> Any:
    """The value of a YAML text made of mappings with text keys, lists and scalars.

    Raises ValueError for anything else. Aliases are refused, because a few lines of them stand for millions of values.
    """
    try:
        _check_events(text)
        return yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2024-13-45, an integer of 5000 digits
        raise ValueError(" ".join(str(error).split())) from error


def _check_events(text: str) -> None:
    """Raises ValueError or YAMLError, before anything is built, for aliases and deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            where: Any = event.start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", where)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")


class _PlainLoader(_Loader):
    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _MOST_DIGITS:  # with colons, its base is 60, and Python has no limit of its own
            raise ValueError(f"an integer of more than {_MOST_DIGITS} digits")
        number: int = super().construct_yaml_int(node)
        return number

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        for key in mapping:
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shorten(key)} is not text", node.start_mark
                )
        return mapping


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)
