"""Suites are data: every YAML file loads, and errors name the mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zoo.benchmarks import suite
from zoo.cli.bench import app
from zoo.errors import ConfigError

VARIABLES = ("ZOO_DATA", "LIBRISPEECH", "SUPERB", "MARBLE", "HEAR")


@pytest.mark.parametrize("name", suite.names())
def test_packaged_suites_load(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "/nowhere")
    loaded = suite.load(name)
    assert loaded.name == name and loaded.about
    outline = suite.outline(name)
    assert outline.about == loaded.about and outline.tasks == [task.name for task in loaded.tasks]


def test_the_mini_suite_needs_no_outside_data() -> None:
    assert suite.outline("mini").variables == []
    assert all(source.source.startswith("corpus:") for source in suite.load("mini").data.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("kind: clas", "one of class"),
        ("data: nowhere", "nowhere"),
        ("metric: loudness", "loudness"),
        ("metric: r2", "for class choose accuracy, balanced_accuracy"),
        ("taget: x", r"in tasks\[0\]: there is no field 'taget'; similar names: target"),
        ("seeds: many", r"in tasks\[0\]: field 'seeds': Value 'many'"),
        ("pooling: max", "pooling"),
        ("target: ''", "target"),
        ("layers: all", "layers"),
        ("kind: robustness", "needs conditions"),
        ("seeds: 0", "seeds is 0"),
        ("options: {beam_size: 5}", "options are for wer"),
        ("kind: value, balanced: true", "only classes can be balanced"),
        ("kind: zero_shot, templates: []", "at least one"),
        ("kind: zero_shot, templates: [music]", "{} in each"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: str, message: str) -> None:
    fields = {"name": "a", "data": "d", "kind": "class", "target": "x"}
    lines = ", ".join([f"{key}: {value}" for key, value in fields.items() if f"{key}: " not in change] + [change])
    path = tmp_path / "own.yaml"
    path.write_text(f"data: {{d: {{source: 'corpus:speech/tiny'}}}}\ntasks: [{{{lines}}}]\n")
    with pytest.raises(ConfigError, match=message) as error:
        suite.load(path)
    assert str(error.value).count(str(path)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tasks: {name: a}", "in tasks: a mapping stands where a list is needed"),
        ("tasks: [a]", r"field 'tasks\[0\]': a mapping of fields is needed"),
        ("data: {d: music.jsonl}", r"field 'data\.d': a mapping of fields is needed"),
        ("task: [{name: a}]", "there is no field 'task'; similar names: tasks"),
    ],
)
def test_fields_of_the_wrong_kind_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        suite.load(tmp_path / "own.yaml")


def test_mistakes_of_a_whole_suite_are_named() -> None:
    speed, phones = suite.SuiteTask("a", "d", "speed"), suite.SuiteTask("b", "d", "phones")
    data = {"d": suite.SuiteSource("corpus:speech/tiny")}
    for tasks, frames, message in (
        ([], 3, "mine: a suite needs tasks"),
        ([speed, speed], 3, "mine: 2 tasks have the name 'a'"),
        ([phones], 0, "mine: frames is 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            suite.check(suite.Suite(frames=frames, data=data, tasks=tasks), "mine")
    made = suite.Suite(data=data, tasks=[phones])
    suite.check(made, "mine")
    assert made.tasks[0].metric == "accuracy"


def test_options_are_values_and_languages_stay_words() -> None:
    options = {
        "beam_size": "5",
        "language": "no",
        "timestamps": "False",
        "temperatures": "[0, 0.2]",
        "prompt": "a: b: c",
    }
    assert suite.SuiteTask(options=options).arguments() == {
        "beam_size": 5,
        "language": "no",
        "timestamps": False,
        "temperatures": [0, 0.2],
        "prompt": "a: b: c",
    }


def test_options_need_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    options = "{language: no, temperature: [0, 0.2], prompt: 'Names: Zoë, Ann'}"
    path.write_text(f"data: {{d: {{source: x}}}}\ntasks: [{{name: a, data: d, kind: wer, options: {options}}}]\n")
    (task,) = suite.load(path).tasks
    assert task.arguments() == {"language": "no", "temperature": [0, 0.2], "prompt": "Names: Zoë, Ann"}
    path.write_text(path.read_text().replace(f"options: {options}", "where: {lang: no, calm: yes}"))
    assert suite.load(path).tasks[0].where == {"lang": "no", "calm": "True"}, "labels may be true and false"
    path.write_text(path.read_text().replace("no, calm: yes", "[de, en]"))
    with pytest.raises(ConfigError, match=r"task 'a': where: lang is \['de', 'en'\], but must be one value"):
        suite.load(path)


def test_a_variable_that_is_not_set_is_named_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_DATA", raising=False)
    with pytest.raises(
        ConfigError,
        match=r"real\.yaml: .*data\.an4\.source': the environment variable ZOO_DATA is not set.*corpora\.md",
    ):
        suite.load("real")


def test_metrics_go_with_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    for kind, message in (("wer", "for wer choose raw, basic, english"), ("retrieval", "none: its metric is fixed")):
        task = f"{{name: a, data: d, kind: {kind}, metric: accuracy}}"
        path.write_text(f"data: {{d: {{source: 'corpus:speech/tiny'}}}}\ntasks: [{task}]\n")
        with pytest.raises(ConfigError, match=message):
            suite.load(path)


def test_robustness_needs_a_base_task_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    for of, conditions, message in (
        ("a", "[]", "needs conditions"),
        ("b", "[pink 3]", "one of a"),
        ("a", "[pnk 3]", "pnk"),
    ):
        path.write_text(
            "data: {d: {source: 'corpus:speech/tiny'}}\n"
            "tasks: [{name: a, data: d, kind: class, target: x}, "
            f"{{name: r, kind: robustness, of: {of}, conditions: {conditions}}}]\n"
        )
        with pytest.raises(ConfigError, match=message):
            suite.load(path)
    path.write_text(path.read_text().replace("pnk", "pink"))
    loaded = suite.load(path)
    assert loaded.tasks[1].data == "d"
    path.with_name("where.yaml").write_text(path.read_text().replace("of: a", "of: a, where: {x: y}"))
    with pytest.raises(ConfigError, match="where are those of 'a'"):
        suite.load(path.with_name("where.yaml"))
    first = loaded.fingerprint(loaded.tasks[1])
    loaded.tasks[0].target = "y"
    assert loaded.fingerprint(loaded.tasks[1]) != first, "it depends on the base task"


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(ConfigError, match="mini"):
        suite.load("minii")
    with pytest.raises(ConfigError, match=r"mine\.yaml: there is no such file"):
        suite.load("mine.yaml")


def test_the_command_lists_suites_as_json() -> None:
    listed = {each["name"]: each for each in json.loads(CliRunner().invoke(app, ["suites", "--json"]).stdout)}
    assert list(listed) == suite.names() and "keyword" in listed["mini"]["tasks"]
    assert listed["mini"]["about"] and listed["mini"]["variables"] == []


def test_the_command_lists_suites() -> None:
    done = subprocess.run([sys.executable, "-m", "zoo", "bench", "suites"], capture_output=True, text=True, check=True)
    assert "mini" in done.stdout and "keyword" in done.stdout
