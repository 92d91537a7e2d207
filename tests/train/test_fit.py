"""The loop: it learns, it reports, it is exact."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_task import Tiny, loader, write_corpus

from zoo.train import TrainConfig, fit

QUICK = {"learning_rate": 1e-2, "log_every": 5, "validate_every": 10, "save_every": 5}


def lines(folder: Path, split: str = "train") -> list[dict[str, float]]:
    """Reports without what depends on the clock."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = {"steps_per_second", "data_wait"}
    return [{k: v for k, v in r.items() if k not in timed} for r in records if r["split"] == split]


def test_learns_reports_and_exports(tmp_path: Path) -> None:
    entries = write_corpus(tmp_path / "corpus")
    result = fit(
        Tiny(), loader(entries), loader(entries, shuffle=False), TrainConfig(steps=60, **QUICK), tmp_path / "run"
    )
    train = lines(tmp_path / "run")
    assert train[-1]["loss"] < 0.5 * train[0]["loss"]
    assert [line["step"] for line in lines(tmp_path / "run", "dev")] == [10, 20, 30, 40, 50, 60]
    assert result.step == 60 and result.metrics["loss"] < train[0]["loss"]
    assert (result.best / "weights.pt").is_file() and (result.last / "weights.pt").is_file()
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00000055", "step-00000060"]
