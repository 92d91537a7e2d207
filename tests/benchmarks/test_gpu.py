"""`make gpu`, rehearsed on the CPU: every section gives numbers, also where packages are missing or a case fails."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))

import benchmarks.gpu.sections as sections  # noqa: E402
from benchmarks.gpu import run  # noqa: E402
from benchmarks.gpu.machine import Machine  # noqa: E402
from benchmarks.gpu.report import table  # noqa: E402
from benchmarks.gpu.sections import Case, Row, Section  # noqa: E402
from benchmarks.gpu.sizes import FULL, TINY  # noqa: E402

MEASURES = {  # section: its systems, and what each row must have
    "peak": ((), ()),
    "contract": ((), ("promises kept",)),
    "embed": (("zoo float32", "zoo bfloat16", "transformers bfloat16"), ("x real time", "GiB")),
    "pretrain": (("zoo", "transformers"), ("audio hours an hour", "GiB")),
    "train": (("zoo", "transformers"), ("audio hours an hour", "GiB")),
    "decode": (("zoo bfloat16", "transformers bfloat16"), ("tokens a second", "ms a step", "GiB")),
    "k-means": (("zoo float32",), ("seconds", "inertia a row", "GiB")),
}


def result_of(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("gpu-rehearsal-*.json")
    document: dict[str, Any] = json.loads(path.read_text())
    assert document["format"] == run.FORMAT
    return document


def test_every_section_gives_numbers(tmp_path: Path) -> None:
    assert run.main(["--size", "tiny", "--device", "cpu", "--out", str(tmp_path)]) == 0
    document = result_of(tmp_path)
    assert [section["name"] for section in document["sections"]] == list(run.SECTIONS) == list(MEASURES)
    for section in document["sections"]:
        systems, measures = MEASURES[section["name"]]
        assert section["problems"] == {} and section["rows"]
        found = {row["system"].partition(", ")[0] for row in section["rows"] if systems}
        assert found == set(systems)
        for row in section["rows"]:
            numbers = [value for value in row.values() if isinstance(value, float)]
            assert numbers and all(math.isfinite(value) and value > 0 for value in numbers), row
            assert set(measures) <= set(row)
    rows = {section["name"]: section["rows"] for section in document["sections"]}
    assert [row["promises kept"] for row in rows["contract"]] == ["7 of 7"] * len(TINY.structures or ())
    for row in (*rows["pretrain"], *rows["train"]):
        assert row["system"] != "zoo" or row["share of peak"] > 0
    differ = [row for row in rows["embed"] if row["cosine, min"] is not None and row["cosine, min"] < 0.99]
    of_batches = [row for row in differ if row["system"].startswith("transformers")]
    assert differ == of_batches and len(differ) <= 2, "padding reaches the statistics of its HuBERT and wav2vec 2.0"
    (page,) = tmp_path.glob("gpu-rehearsal-*.md")
    tables = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    assert len(tables) == sum(len(found) + 1 for found in rows.values())


@pytest.mark.slow
def test_missing_packages_are_named_and_what_needs_them_is_left_out(tmp_path: Path) -> None:
    missing = ("soundfile", "omegaconf", "jiwer", "transformers")
    for name in missing:
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here', name='{name}')\n")
    command = [sys.executable, "-m", "benchmarks.gpu.run", "--size", "tiny", "--device", "cpu", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = result_of(tmp_path)
    assert sorted(document["missing"]) == sorted(missing)
    for section in document["sections"]:
        assert section["rows"]
        assert all("needs transformers" in problem for problem in section["problems"].values()), section["problems"]
    assert "transformers is not installed" in done.stdout


def test_a_case_that_fails_or_takes_too_long_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def half() -> Iterator[Row]:
        yield {"case": "half", "value": 1.0}
        raise RuntimeError("CUDA error: no\nluck")

    def endless() -> list[Row]:
        while True:
            pass

    def section(*cases: Case) -> Section:
        return Section("one", "One", lambda machine, size: cases)

    monkeypatch.setattr(sections, "HANGS", 0.2)
    machine, lines = Machine(run.torch.device("cpu")), []
    found = [Case("half", half), Case("lacking", half, needs=("moon",)), Case("good", lambda: [{"value": 2}])]
    result = sections.run_section(section(*found), machine, TINY, 5.0, {"moon": ""}, lines.append)
    assert [row["value"] for row in result.rows] == [1.0, 2]
    assert result.problems["half"].startswith("RuntimeError: CUDA error: no luck at test_gpu.py:")
    assert result.problems["lacking"] == "needs moon, which is not installed"
    slow = section(Case("good", lambda: [{"value": 2}]), Case("endless", endless), Case("late", half))
    result = sections.run_section(slow, machine, TINY, 0.1, {}, lines.append)
    assert [row["value"] for row in result.rows] == [2] and "interrupted" in result.problems["one"]
    late = section(Case("late", half))
    result = sections.run_section(late, machine, TINY, 1e-9, {}, lines.append)
    assert result.problems == {"late": "left out: the time of the section was used up"}


def test_the_budgets_fit_into_eight_minutes_and_no_gpu_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(FULL.budgets) == sorted(run.SECTIONS)
    assert run.TOTAL + sections.HANGS < 480 and sum(FULL.budgets.values()) <= run.TOTAL + 20
    if not run.torch.cuda.is_available():
        assert run.main([]) == 2
        assert "finds no GPU here" in capsys.readouterr().err


def test_a_table_has_all_columns_that_occur() -> None:
    lines = table([{"case": "a", "x": 1234.5, "y": None}, {"case": "b|c", "z": 0.012345}])
    assert lines[0] == "| case | x | z |" and lines[2:4] == ["| a | 1234 |  |", "| b\\|c |  | 0.0123 |"]
