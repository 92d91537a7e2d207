"""The table of benchmarks/protocols/gain.py: a task with a choice, against the last layer."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from small import small
from tone_tasks import evaluate

from zoo.benchmarks.suite import SuiteTask
from zoo.errors import ConfigError

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "protocols" / "gain.py"


@pytest.fixture
def gain(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = spec_from_file_location("gain", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gain", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_gains_are_paired_differences(gain: Any, corpus: Path, tmp_path: Path, metric: str) -> None:
    options = {"shots": "2", "draws": "3"}
    last = SuiteTask("pitch, last layer", kind="kshot", target="pitch", layers="last", pooling="mean", options=options)
    chosen = SuiteTask("pitch", kind="kshot", target="pitch", pooling="best", options=options)
    last.metric = chosen.metric = metric
    store = evaluate(corpus, tmp_path / "out", last, chosen, models=[small("hubert-base"), "logmel"])
    scores = {(record.model, record.task): record.score for record in store.records.values()}
    found = gain.gains(tmp_path / "out")
    assert len(found) == 2
    for each in found:
        model = each.chosen.model
        difference = scores[model, "pitch"] - scores[model, "pitch, last layer"]
        assert each.comparison.difference == pytest.approx(
            difference, abs=0.02 if metric == "balanced_accuracy" else 1e-9
        )
    assert gain.table(found).count("| pitch |") == 2
    with pytest.raises(ConfigError, match="run the suite protocols"):
        evaluate(corpus, tmp_path / "one", last)
        gain.gains(tmp_path / "one")
