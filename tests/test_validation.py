"""Numbers outside their range are refused when the configuration is read; the error names field and range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from zoo.config import load
from zoo.errors import ConfigError
from zoo.recipes.hubert.config import HubertTrainConfig
from zoo.recipes.hubert.ctc_config import CtcTrainConfig
from zoo.recipes.mulan.config import MulanTrainConfig
from zoo.recipes.whisper.config import WhisperTrainConfig
from zoo.validation import check_range, check_types


@pytest.mark.parametrize(
    ("schema", "override", "message"),
    [
        (HubertTrainConfig, "mask.length=0", "mask.length 0: must be at least 1"),
        (HubertTrainConfig, "mask.mask_prob=-3", "mask.mask_prob -3: must be at least 0 and at most 1"),
        (HubertTrainConfig, "mask.min_masks=-1", "mask.min_masks -1: must be at least 0"),
        (HubertTrainConfig, "data.batch_seconds=0", "data.batch_seconds 0: must be more than 0"),
        (HubertTrainConfig, "train.learning_rate=-1", "learning_rate -1: must be at least 0"),
        (HubertTrainConfig, "rounds=[{features: mfcc}, {steps: 0}]", "rounds: steps 0: must be at least 1"),
        (HubertTrainConfig, "rounds=[{features: mfcc}, {units: []}]", "rounds: units 0: must be at least 1"),
        (HubertTrainConfig, "rounds=[{features: mfcc, hours: -1}]", "rounds: hours -1: must be more than 0"),
        (HubertTrainConfig, "final_units=-1", "final_units -1: must be at least 0"),
        (CtcTrainConfig, "tune.time_mask.length=0", "mask.length 0: must be at least 1"),
        (CtcTrainConfig, "tune.dropout=1.5", "tune.dropout 1.5: must be at least 0 and at most 1"),
        (CtcTrainConfig, "tune.freeze_steps=-1", "tune.freeze_steps -1: must be at least 0"),
        (CtcTrainConfig, "data.max_seconds=-2", "data.max_seconds -2: must be more than 0"),
        (MulanTrainConfig, "data.workers=0", "data.workers 0: must be at least 1"),
        (MulanTrainConfig, "data.max_items=0", "data.max_items 0: must be at least 1"),
        (MulanTrainConfig, "train.clip_norm=0", "clip_norm 0: must be more than 0"),
        (WhisperTrainConfig, "data.cache_hours=-1", "data.cache_hours -1: must be at least 0"),
        (WhisperTrainConfig, "tune.layerdrop=2", "tune.layerdrop 2: must be at least 0 and at most 1"),
        (WhisperTrainConfig, "tune.ctc=-1", "tune.ctc -1: must be at least 0"),
    ],
)
def test_errors_name_field_and_range(schema: type, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(schema, overrides=[override])


def test_bounds_are_allowed_unless_above() -> None:
    for value in (0, 0.5, 1, None):
        check_range("x", value, 0, 1)
    for value, above in ((-0.1, False), (1.1, False), (0, True), (math.nan, False)):
        with pytest.raises(ConfigError, match=f"x {value:g}: must be"):
            check_range("x", value, 0, 1, above=above)


@dataclass
class Options:
    count: int = 1
    share: float | None = 0.5
    ids: tuple[int, ...] = ()
    place: Path | str = "."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 1.0}, "count 1.0: give a whole number"),
        ({"count": True}, "count True: give a whole number"),
        ({"count": None}, "count None: give a whole number"),
        ({"share": "half"}, "share 'half': give a number or None"),
        ({"share": math.nan}, "share nan: give a number or None"),
        ({"ids": "12"}, "ids '12': give a list: a whole number each"),
        ({"ids": (1, 2.5)}, "ids .*: give a list: a whole number each"),
        ({"place": 3}, "place 3: give Path or a text"),
    ],
)
def test_options_of_a_wrong_type(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_types(Options(**options))


def test_options_of_the_right_type() -> None:
    for options in ({}, {"share": 1}, {"share": None}, {"ids": [1, np.int64(2)]}, {"share": np.float32(0.5)}):
        check_types(Options(**options))  # type: ignore[arg-type]
    check_types(Options(place=Path("here")))
