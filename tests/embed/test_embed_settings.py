from __future__ import annotations

from pathlib import Path

import pytest

from zoo.embed import task
from zoo.embed.settings import EmbedSettings
from zoo.encoder import Encoder
from zoo.errors import ConfigError


def test_the_bytes_of_frames_limit_a_shard(hubert: Encoder) -> None:
    settings = EmbedSettings.of(hubert, pooling=None, layer="all", storage="float16")
    assert settings.count_bytes(10.0) == 10 * 50 * 4 * 48 * 2
    limits = task.EmbedTask(hubert, settings, Path()).limits
    assert (limits.item_size, limits.second_size, limits.size) == (0, 50 * 4 * 48 * 2, task.SHARD_BYTES)
    limits = task.EmbedTask(hubert, EmbedSettings.of(hubert, layer="all"), Path()).limits
    assert (limits.item_size, limits.second_size) == (4 * 48 * 4, 0)


def test_settings_are_stored_as_json(hubert: Encoder) -> None:
    settings = EmbedSettings.of(hubert, layer="0,2", pooling="stats")
    assert EmbedSettings.from_json(settings.as_json()) == settings


def test_settings_resolve_the_requested_layers(hubert: Encoder) -> None:
    assert EmbedSettings.of(hubert).layers == (3,)
    assert EmbedSettings.of(hubert, layer="0,-1,3").layers == (0, 3)
    assert EmbedSettings.of(hubert, layer="all").layers == (0, 1, 2, 3)
    assert EmbedSettings.of(hubert, pooling="stats").width == 96
    assert EmbedSettings.of(hubert).fingerprint == hubert.fingerprint()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"layer": 4}, "layer"),
        ({"layer": "first"}, "layer"),
        ({"pooling": "median"}, "median"),
        ({"storage": "float8"}, "storage"),
        ({"batch_seconds": 0.0}, "batch_seconds"),
        ({"shard_items": 0}, "shard_items"),
    ],
)
def test_the_error_for_an_invalid_setting_has_its_name(hubert: Encoder, changes: dict, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        EmbedSettings.of(hubert, **changes)
