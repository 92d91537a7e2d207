"""The page: one HTML file that holds its pictures, sounds, style and script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from zoo._version import __version__
from zoo.demo import benchmark, charts, picture, sound, units, words
from zoo.demo.benchmark import ScoreRow, ScoreTable
from zoo.demo.clips import DemoClip
from zoo.demo.maps import Map
from zoo.demo.results import DemoResults
from zoo.demo.search import SearchAnswer, SearchHit
from zoo.demo.units import Spectrogram
from zoo.demo.words import ShownTranscript

_NAMES = {"hubert": "HuBERT", "mulan": "MuLan", "mfcc": "MFCC", "logmel": "log-mel", "chance": "chance"}
_NOTES = {
    "mfcc": "classic features, no training",
    "logmel": "plain spectrum, no training",
    "chance": "always the most common answer",
}


def build(results: DemoResults) -> str:
    """The whole page as text."""
    shown_transcripts = words.choose(results.transcripts)
    shown = shown_clips(results, shown_transcripts)
    return Template(_read("page.html")).substitute(
        style=_read("page.css"),
        script=_read("page.js"),
        sounds=_json(sound.sounds(shown)),
        version=escape(__version__),
        command=escape(benchmark.COMMAND),
        tiles=_tiles(results),
        word_maps=_maps(results.word_maps),
        music_maps=_maps(results.music_maps),
        words=len(results.word_maps[0].clips),
        voices=len({clip.group for clip in results.word_maps[0].clips}),
        known_voices=len({clip.group for clip in results.word_maps[0].clips if clip.entry.split == "train"}),
        clips=len(results.music),
        pieces=len({clip.group for clip in results.music}),
        seconds=f"{sound.LONGEST:g}",
        spectrograms="\n".join(_spectrogram(each) for each in results.spectrograms),
        transcripts="\n".join(_transcript(each) for each in shown_transcripts),
        transcript_count=_transcript_count(results.transcripts),
        answers="\n".join(_answer(each) for each in results.answers),
        tables="\n".join(_table(each) for each in results.tables),
    )


def shown_clips(results: DemoResults, transcripts: Sequence[ShownTranscript]) -> list[DemoClip]:
    """The clips that have a player somewhere on the page."""
    shown = [clip for chart in (*results.word_maps, *results.music_maps) for clip in chart.clips]
    shown += [each.clip for each in results.spectrograms]
    shown += [each.clip for each in transcripts]
    for answer in results.answers:
        shown += [hit.clip for hit in answer.hits]
    return shown


def _read(name: str) -> str:
    return (files("zoo.demo") / name).read_text(encoding="utf-8")


def _json(values: dict[str, str]) -> str:
    """JSON that can stand in a script element."""
    return json.dumps(values).replace("<", "\\u003c")


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", "\N{NO-BREAK SPACE}%")


def _name(model: str) -> str:
    base, comma, rest = model.partition(",")
    family = base.removesuffix("-mini")
    return _NAMES.get(family, base) + comma + rest


def _tiles(results: DemoResults) -> str:
    known = [each for each in results.transcripts if each.known]
    correct = sum(each.correct for each in known)
    tiles = [
        _agreement_tile(results.word_maps, "of nearest clips hold the same word"),
        _agreement_tile(results.music_maps, "of nearest pieces have the same instrument family"),
        (
            "Whisper",
            f"{correct} of {len(known)}",
            "transcripts of new voices without an error",
            "words and digits it knows",
        ),
    ]
    parts = []
    for name, number, text, beside in tiles:
        parts.append(
            f'<div class="tile"><h3>{escape(name)}</h3><strong>{escape(number)}</strong>'
            f"<p>{escape(text)}</p><small>{escape(beside)}</small></div>"
        )
    return "\n".join(parts)


def _agreement_tile(maps: Sequence[Map], text: str) -> tuple[str, str, str, str]:
    baseline, model = maps
    beside = f"{_name(baseline.model)} {_percent(baseline.agreement)}, chance {_percent(baseline.chance)}"
    return _name(model.model), _percent(model.agreement), text, beside


def _maps(maps: Sequence[Map]) -> str:
    parts = ['<div class="linked">', charts.legend(maps[0]), '<div class="pair">']
    for chart in maps:
        parts.append(
            f'<figure class="card"><figcaption><h3>{escape(_name(chart.model))}</h3>'
            f"<span>nearest has the same {escape(chart.question)}: <b>{_percent(chart.agreement)}</b> "
            f"<small>chance&nbsp;{_percent(chart.chance)}</small></span></figcaption>{charts.scatter(chart)}</figure>"
        )
    parts.append("</div></div>")
    return "\n".join(parts)


def _button(clip: DemoClip) -> str:
    label = escape(charts.describe(clip))
    return f'<button type="button" class="play" data-clip="{clip.key}" aria-label="Play {label}"></button>'


def _spectrogram(shown: Spectrogram) -> str:
    entry = shown.clip.entry
    text = escape(entry.text or "")
    image = sound.data_uri("image/png", picture.spectrogram(shown.bands))
    width = "long" if entry.duration > units.LONGEST_WORD else ""
    return (
        f'<figure class="card spectrogram {width}" style="--seconds:{entry.duration:.2f}"><figcaption>'
        f"{_button(shown.clip)}<h3>{text}</h3><small>voice {escape(entry.speaker or '')}</small></figcaption>"
        f'<div class="scroll" tabindex="0" role="group" aria-label="Spectrogram, phones and hidden units">'
        f'<div class="track"><img src="{image}" alt="Spectrogram of {text}">'
        f"{charts.phone_strip(entry.phones, entry.duration)}{charts.unit_strip(shown.runs, entry.duration)}"
        f'<div class="cursor" data-clip="{shown.clip.key}" data-seconds="{entry.duration:.3f}"></div>'
        f"</div></div></figure>"
    )


def _transcript(shown: ShownTranscript) -> str:
    parts = []
    for word, correct in words.marked(shown.truth, shown.text):
        parts.append(escape(word) if correct else f"<mark>{escape(word)}</mark>")
    verdict = "correct" if shown.correct else "wrong"
    kind = "" if shown.known else ' <span class="chip">not what it learned</span>'
    return (
        f'<tr><td>{_button(shown.clip)}</td><td data-name="spoken">{escape(shown.truth)}{kind}</td>'
        f'<td data-name="whisper-mini" class="{verdict}">{" ".join(parts)}</td></tr>'
    )


def _transcript_count(transcripts: Sequence[ShownTranscript]) -> str:
    known = [each for each in transcripts if each.known]
    return f"{sum(each.correct for each in known)} of {len(known)}"


def _answer(answer: SearchAnswer) -> str:
    hits = "\n".join(_hit(place, hit) for place, hit in enumerate(answer.hits, 1))
    return f'<div class="card query"><h3>“{escape(answer.query)}”</h3><ol>{hits}</ol></div>'


def _hit(place: int, hit: SearchHit) -> str:
    facts = []
    for name, true in hit.facts:
        facts.append(f'<span class="chip {"yes" if true else "no"}">{escape(name)}</span>')
    caption = escape(hit.clip.entry.captions[0])
    return (
        f"<li>{_button(hit.clip)}<div><p>{caption}</p>{''.join(facts)}</div>"
        f'<data value="{hit.score:.2f}" title="cosine of text and clip, place {place}">{hit.score:.2f}</data></li>'
    )


def _table(table: ScoreTable) -> str:
    rows = "\n".join(_row(row) for row in table.rows)
    one = table.group.removesuffix("s")
    counts = f"{table.examples} {table.unit} of {table.groups} {table.group}"
    text = f"Accuracy on {counts}, each predicted by a probe that has not met its {one}."
    return (
        f'<div class="card"><h3>{escape(table.title)}</h3><p><small>{escape(text)}</small></p>'
        f'<table class="scores">{rows}</table></div>'
    )


def _row(row: ScoreRow) -> str:
    family = row.model.removesuffix("-mini")
    note = "same network, random weights" if "untrained" in row.model else _NOTES.get(family, "trained")
    return (
        f'<tr class="{escape(row.role)}"><th scope="row">{escape(_name(row.model))}<small>{note}</small></th>'
        f"<td>{charts.interval(row)}</td>"
        f"<td><b>{row.score:.2f}</b><small>{row.low:.2f} to {row.high:.2f}</small></td></tr>"
    )
