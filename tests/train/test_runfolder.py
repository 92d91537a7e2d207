"""What a run's folder says about where it comes from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from zoo.train import runfolder


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_source_and_not_of_what_lies_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x", *words], check=True)

    source = tmp_path / "site-packages" / "runfolder.py"
    source.parent.mkdir()
    source.write_text("")
    monkeypatch.setattr(runfolder, "__file__", str(source))
    assert runfolder.environment()["commit"] is None
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "of something else")
    assert runfolder.environment()["commit"] is None
    git("add", ".")
    git("commit", "--quiet", "-m", "the source")
    assert len(runfolder.environment()["commit"]) == 12
    source.write_text("changed")
    assert runfolder.environment()["commit"].endswith("-dirty")
