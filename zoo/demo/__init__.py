"""`zoo demo`: the three packaged models at work on generated speech and music, as one page to look at and listen to.

    clips.py      the corpora, and the clips that are shown
    maps.py       maps of clips by word and by instrument
    units.py      spectrograms with hidden units
    words.py      transcripts
    search.py     music by text
    benchmark.py  two small benchmarks
    results.py    all of these together

page.py writes the page, of which charts.py, sound.py and picture.py make the parts; command.py runs everything.
"""

from zoo.demo.command import run

__all__ = ["run"]
