"""Purities, PNMI and boundaries compared with their definitions; alignments from TextGrid and CTM."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from zoo.cluster import Measures
from zoo.cluster.measures import Boundaries, phones_of_frames
from zoo.data.alignments import attach, read_ctm, read_textgrid
from zoo.data.manifest import Entry
from zoo.errors import ManifestError


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60))
def test_measures_are_their_definitions(pairs: list[tuple[int, int]]) -> None:
    table = torch.zeros(4, 5, dtype=torch.int64)
    for phone, unit in pairs:
        table[phone, unit] += 1
    measures = Measures.of(table)
    phones, units = zip(*pairs, strict=True)
    total = len(pairs)
    assert measures.phone_purity == pytest.approx(sum(max(table[:, z].tolist()) for z in range(5)) / total)
    assert measures.cluster_purity == pytest.approx(sum(max(table[y].tolist()) for y in range(4)) / total)
    information = mutual_info_score(phones, units) / math.log(2)
    assert measures.mutual_information == pytest.approx(information, abs=1e-9)
    shares = [phones.count(y) / total for y in set(phones)]
    entropy = -sum(p * math.log2(p) for p in shares)
    assert measures.phone_entropy == pytest.approx(entropy, abs=1e-9)
    assert measures.pnmi == pytest.approx(information / entropy if entropy > 1e-12 else 0.0, abs=1e-6)
    assert measures.frames == total and measures.used == len(set(units)) and measures.phones == len(set(phones))


def test_extremes() -> None:
    perfect = Measures.of(torch.eye(4).long() * 7)
    assert perfect.pnmi == pytest.approx(1) and perfect.phone_purity == perfect.cluster_purity == 1
    assert perfect.perplexity == pytest.approx(4)
    assert Measures.of(torch.tensor([[4, 1, 1]])).pnmi == 0, "one phone has no information; rounding must not matter"
    useless = Measures.of(torch.full((4, 3), 5))
    assert useless.pnmi == pytest.approx(0, abs=1e-9) and useless.phone_purity == pytest.approx(1 / 4)
    with pytest.raises(ManifestError, match="phones"):
        Measures.of(torch.zeros(4, 3))


def test_a_frame_has_the_phone_at_its_middle() -> None:
    phones = [(0.0, 0.1, "a"), (0.1, 0.2, "b"), (0.3, 0.4, "a")]
    numbers = phones_of_frames(phones, 6, rate=10.0, center=0.05, symbols={"a": 0, "b": 1})
    assert numbers.tolist() == [0, 1, -1, 0, -1, -1]


def test_boundaries() -> None:
    phones = [(0.0, 0.1, "a"), (0.1, 0.2, "b"), (0.2, 0.3, "b"), (0.3, 0.4, "c")]
    boundaries = Boundaries()  # boundaries of phones: 0.1 and 0.3; two "b" in a row have no boundary
    boundaries.add(torch.tensor([5, 5, 5, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 4, 4]), phones, 50.0, 0.01)
    assert (boundaries.phones, boundaries.units, boundaries.matched) == (2, 2, 1)
    assert boundaries.scores()["f1"] == 0.5
    every = Boundaries()
    every.add(torch.arange(20), phones, 50.0, 0.01)
    assert every.scores()["recall"] == 1 and every.scores()["r"] < 0 < every.scores()["precision"]
    exact = Boundaries()
    exact.add(torch.tensor([0] * 5 + [1] * 10 + [2] * 5), phones, 50.0, 0.01)
    assert exact.scores() == {"precision": 1, "recall": 1, "f1": 1, "r": 1}


LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.6
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 0.6
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 0.6
            text = "say ""ah"" 3 times"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 0.6
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = "AH0"
        intervals [2]:
            xmin = 0.25
            xmax = 0.4
            text = ""
        intervals [3]:
            xmin = 0.4
            xmax = 0.6
            text = "ɛ"
"""
SHORT = (
    'File type = "ooTextFile"\n"TextGrid"\n\n0\n0.6\n<exists>\n2\n"TextTier"\n"clicks"\n0\n0.6\n1\n0.3\n"click"\n'
    '"IntervalTier"\n"phones"\n0\n0.6\n3\n0\n0.25\n"AH0"\n0.25\n0.4\n""\n0.4\n0.6\n"ɛ"\n'
)
PHONES = [(0.0, 0.25, "AH0"), (0.25, 0.4, "sil"), (0.4, 0.6, "ɛ")]


@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_textgrids(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(text, encoding=encoding)
    assert read_textgrid(path) == PHONES
    with pytest.raises(ManifestError, match="no interval tier 'syllables'"):
        read_textgrid(path, "syllables")
    path.write_text(text[: len(text) * 3 // 4])
    with pytest.raises(ManifestError, match="cannot be read as a TextGrid"):
        read_textgrid(path)


def test_ctm(tmp_path: Path) -> None:
    path = tmp_path / "a.ctm"
    path.write_text(";; comment\nrec1 1 0.25 0.15 sil\nrec1 1 0.0 0.25 AH0 0.9\n\nrec2 A 0 1 b\n")
    assert read_ctm(path) == {"rec1": [(0.0, 0.25, "AH0"), (0.25, 0.4, "sil")], "rec2": [(0.0, 1.0, "b")]}
    path.write_text("call A 0 1 a\ncall B 0.5 1 b\n")
    with pytest.raises(ManifestError, match=r"a\.ctm:2: call has phones of the channels A and B"):
        read_ctm(path)
    path.write_text("rec1 1 0.25\n")
    with pytest.raises(ManifestError, match=r"a\.ctm:1"):
        read_ctm(path)


def test_alignments_are_attached_by_name(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.TextGrid").write_text(LONG)
    entries = [Entry(Path("/x/a.wav"), 0.6, "dev"), Entry(Path("/x/b.wav"), 1.0, "dev")]
    entries.append(Entry(Path("/x/a.wav"), 0.2, "dev", start=0.3, end=0.5))
    whole, without, span = attach(entries, tmp_path)
    assert whole.phones == PHONES and not without.phones
    assert [(round(a, 9), round(b, 9), s) for a, b, s in span.phones] == [(0.0, 0.1, "sil"), (0.1, 0.2, "ɛ")]
    with pytest.raises(ManifestError, match="none of 1 alignments"):
        attach(entries[1:2], tmp_path)


def test_alignments_with_the_same_name_are_matched_by_folder(tmp_path: Path) -> None:
    for folder, symbol in (("anna", "AH0"), ("bert", "OW")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.TextGrid").write_text(SHORT.replace("AH0", symbol))
    anna, bert, carl = (Entry(Path(f"/x/{name}/a.wav"), 0.6, "dev") for name in ("anna", "bert", "carl"))
    assert [e.phones[0][2] if e.phones else "" for e in attach([anna, bert, carl], tmp_path)] == ["AH0", "OW", ""]
    named = {"anna/a": PHONES, "b": PHONES}
    assert [bool(entry.phones) for entry in attach([anna, bert], named)] == [True, False]
    with pytest.raises(ManifestError, match=r"carl/a\.wav: 1 recordings and 2 alignments are named a, .* folders"):
        attach([carl], tmp_path)
    with pytest.raises(ManifestError, match="2 recordings and 1 alignments are named a"):
        attach([anna, bert], {"a": PHONES})
    (tmp_path / "more" / "bert").mkdir(parents=True)
    (tmp_path / "more" / "bert" / "a.TextGrid").write_text(SHORT)
    with pytest.raises(ManifestError, match=r"more/bert/a\.TextGrid: there is another one"):
        attach([anna], tmp_path)
