"""Facts about the origin of a run, in its folder."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from zoo.benchmarks import results
from zoo.errors import ConfigError
from zoo.io import git as git_facts
from zoo.recipes.hubert.config import HubertTrainConfig, LossConfig
from zoo.train import runfolder


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_source_not_of_its_parent_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x", *words], check=True)

    source = tmp_path / "site-packages" / "__init__.py"
    source.parent.mkdir()
    source.write_text("")
    monkeypatch.setattr(git_facts, "__file__", str(source.parent / "io" / "git.py"))
    assert runfolder.environment()["commit"] is None
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "of something else")
    assert runfolder.environment()["commit"] is results.environment()["commit"] is None
    git("add", ".")
    git("commit", "--quiet", "-m", "the source")
    assert len(runfolder.environment()["commit"]) == 12
    assert runfolder.environment()["commit"].startswith(results.environment()["commit"])
    source.write_text("changed")
    assert runfolder.environment()["commit"].endswith("-dirty")


def test_a_run_can_be_resumed_in_a_renamed_folder(tmp_path: Path) -> None:
    runfolder.prepare(tmp_path, HubertTrainConfig(out="runs/night"), {}, resuming=False)
    moved = HubertTrainConfig(out="runs/day")
    assert moved.name == "hubert-day"
    runfolder.prepare(tmp_path, moved, {}, resuming=True)
    with pytest.raises(ConfigError, match="alpha"):
        runfolder.prepare(tmp_path, replace(moved, loss=LossConfig(alpha=0.1)), {}, resuming=True)


def test_more_steps_are_refused_with_the_way_to_train_longer(tmp_path: Path) -> None:
    config = HubertTrainConfig(out=str(tmp_path))
    runfolder.prepare(tmp_path, config, {}, resuming=False)
    longer = replace(config, train=replace(config.train, steps=config.train.steps + 10))
    with pytest.raises(ConfigError, match=r"(?s)train\.steps: .*to train longer, begin a new run .*`init`"):
        runfolder.prepare(tmp_path, longer, {}, resuming=True)
    with pytest.raises(ConfigError) as error:
        runfolder.prepare(tmp_path, replace(config, loss=LossConfig(alpha=0.1)), {}, resuming=True)
    assert "longer" not in str(error.value)
