"""Options, prompts, rising temperatures and languages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from fake_rows import FakeIds, FakeRows

from zoo.errors import ConfigError
from zoo.models.whisper.decoding import DecodingOptions, DecodingRequest
from zoo.models.whisper.decoding.fallback import Search, best, compression_ratio, search_all
from zoo.models.whisper.decoding.language import check_language, check_languages, identify, one_for_each
from zoo.models.whisper.decoding.options import Decoded
from zoo.models.whisper.decoding.sampling import Hypothesis

REFUSED = [
    ({"task": "summarize"}, "task 'summarize' is unknown; choose one of transcribe, translate"),
    ({"temperatures": ()}, "temperatures"),
    ({"temperatures": (-0.1,)}, "temperatures"),
    ({"beam_size": 0}, "beam_size 0"),
    ({"beam_size": 2.5}, "beam_size 2.5: give a whole number"),
    ({"temperatures": 0.0}, "temperatures 0.0: give a list: a number each"),
    ({"seed": "now"}, "seed 'now': give a whole number"),
    ({"task": None}, "task None: give a text"),
    ({"beam_size": 5, "temperatures": (0.2,)}, "beams need the temperature 0"),
    ({"best_of": 5, "temperatures": (0.0,)}, "best_of: samples differ at a temperature above 0 only"),
    ({"best_of": 0}, "best_of 0"),
    ({"patience": 2.0}, "patience"),
    ({"patience": 0.0, "beam_size": 5}, "patience"),
    ({"length_penalty": 0.6, "temperatures": (0.0,)}, "length_penalty"),
    ({"length_penalty": 1.6, "beam_size": 5}, "length_penalty"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_initial_timestamp": 31.0}, "max_initial_timestamp"),
    ({"timestamps": False, "max_initial_timestamp": 2.0}, "goes with timestamps"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED)
def test_options_that_are_invalid_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DecodingOptions(**options)


class Scripted(Search):
    """Attempts with scripted results: temperature -> (log-probability, no-speech, ratio, looped) for each window."""

    def attempt(self, windows: Sequence[int], requests: Sequence[DecodingRequest], temperature: float) -> list[Decoded]:
        self.log.append((temperature, list(windows)))
        return [
            Decoded([], "", "en", 1.0, temperature, *self.script[w].get(temperature, (-0.1, 0.0, 1.0, False)))
            for w in windows
        ]


def scripted(script: list[dict[float, tuple]], **options: object) -> tuple[list[Decoded], list]:
    search = Scripted(None, FakeIds(), FakeIds.size, 64, DecodingOptions(**options), torch.device("cpu"))  # type: ignore[arg-type]
    search.script, search.log = script, []
    return search_all(search, [DecodingRequest("en")] * len(script)), search.log


BAD = (-1.5, 0.0, 1.0, False)


def test_only_failed_windows_are_tried_again() -> None:
    script = [
        {},
        {0.0: BAD, 0.2: BAD},
        {0.0: (-0.1, 0.0, 2.5, False)},
        {0.0: (-1.5, 0.7, 1.0, False)},  # silence
        {0.0: (-0.1, 0.0, 1.0, True)},
        {t / 10: (-1.5 - abs(t - 4), 0.0, 1.0, False) for t in range(0, 11, 2)},
    ]
    results, log = scripted(script)
    assert [r.temperature for r in results] == [0.0, 0.4, 0.2, 0.0, 0.2, 0.4]
    assert log[:3] == [(0.0, [0, 1, 2, 3, 4, 5]), (0.2, [1, 2, 4, 5]), (0.4, [1, 5])]
    assert [r.silent(DecodingOptions()) for r in results] == [False, False, False, True, False, False]


def test_of_failed_attempts_the_likeliest_is_used_that_does_not_repeat_itself() -> None:
    temperatures = (0.0, 0.4, 1.0)
    script = [
        {0.0: (-3.4, 0.0, 1.0, False), 0.4: (-1.2, 0.0, 1.0, False), 1.0: (-3.4, 0.0, 1.0, False)},
        {0.0: (-0.1, 0.0, 9.0, False), 0.4: (-1.2, 0.0, 1.0, False), 1.0: (-0.1, 0.0, 1.0, True)},
        {0.0: (-0.3, 0.0, 9.0, False), 0.4: (-0.1, 0.0, 1.0, True), 1.0: (-0.5, 0.0, 5.0, False)},
    ]
    results, log = scripted(script, temperatures=temperatures)
    assert [result.temperature for result in results] == [0.4, 0.4, 0.4]
    assert log == [(t, [0, 1, 2]) for t in temperatures]


def test_thresholds_can_be_switched_off() -> None:
    script = [{0.0: BAD}, {0.0: (-0.1, 0.0, 9.0, False)}]
    _, log = scripted(script, logprob_threshold=None, compression_ratio_threshold=None)
    assert len(log) == 1
    results, _ = scripted([{0.0: (-9.0, 0.99, 1.0, False)}], no_speech_threshold=None, temperatures=(0.0,))
    assert not results[0].silent(DecodingOptions(no_speech_threshold=None))


def real_search(context: int = 64, **options: object) -> Search:
    ids = FakeIds()
    decoding = DecodingOptions(**options)  # type: ignore[arg-type]
    return Search(lambda windows, prompts, steps: FakeRows(list(windows), ids), ids, ids.size, context, decoding, "cpu")  # type: ignore[arg-type]


def test_prompts_keep_their_end_and_long_prefixes_are_refused() -> None:
    ids, search = FakeIds(), real_search(context=16)
    assert search.prompt(DecodingRequest("en")) == [ids.sot]
    assert search.prompt(DecodingRequest("en", prompt=tuple(range(12)))) == [ids.sot_prev, *range(5, 12), ids.sot]
    assert search.prompt(DecodingRequest("en", prompt=(1,), prefix=(2, 3))) == [ids.sot_prev, 1, ids.sot, 2, 3]
    assert real_search(timestamps=False).prompt(DecodingRequest("en")) == [ids.sot, ids.no_timestamps]
    with pytest.raises(ConfigError, match="prefix: 5 tokens; at most 4"):
        search.prompt(DecodingRequest("en", prefix=(1,) * 5))


@pytest.mark.parametrize("beam", [1, 3])
def test_transcripts_never_exceed_the_context(beam: int) -> None:
    search = real_search(context=16, beam_size=beam, temperatures=(0.0,))
    long = DecodingRequest("en", prompt=(1,) * 50, prefix=(2,) * 4)
    for result in search_all(search, [long, DecodingRequest("en")] * 3):
        assert len(result.tokens) <= 8
    assert len(search.prompt(long)) == 13 and all(len(r.tokens) <= 4 for r in search_all(search, [long]))


def test_more_beams_than_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="the vocabulary has 26"):
        real_search(beam_size=26)


def test_candidates_are_ranked_by_score_for_their_length() -> None:
    short, long = Hypothesis([1], -1.0), Hypothesis([1, 2, 3], -2.4)
    assert best([short, long], None) is long
    assert best([short, long], 0.0) is short
    assert best([Hypothesis([], -5.0), short], None) is short


def test_compression_ratio_grows_with_repetition() -> None:
    assert compression_ratio("") == 0 and compression_ratio("she sells sea shells") < 1.1
    assert compression_ratio("thank you " * 20) > 2.4


def test_languages() -> None:
    logits = torch.full((2, 10), 5.0)
    logits[0, 7], logits[1, 4] = 9.0, 8.0
    found = identify(logits, {"en": 4, "de": 7})
    assert [code for code, _ in found] == ["de", "en"]
    assert found[0][1] == pytest.approx(torch.tensor([5.0, 9.0]).softmax(0)[1].item())
    assert check_language(None, {}, "transcribe") == "en" and check_language(None, {"en": 4}, "translate") is None
    assert check_languages(["en", None], {"en": 4}, "transcribe") == ["en", None]
    assert one_for_each(["en", None], 2) == ["en", None] and one_for_each("de", 2) == ["de", "de"]
    for language, languages, task in (
        ("de", {}, "transcribe"),
        ("en", {}, "translate"),
        ("xx", {"en": 4}, "transcribe"),
    ):
        with pytest.raises(ConfigError, match=r"English-only|'xx' is unknown; use a name or a code: en"):
            check_language(language, languages, task)
    with pytest.raises(ConfigError, match="1 codes for 2 recordings"):
        one_for_each(["en"], 2)
