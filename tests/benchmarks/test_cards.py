"""Model cards: data, limits, and the results of these weights and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import small
from test_compare import write
from typer.testing import CliRunner

import zoo
from zoo import card_page, registry
from zoo.benchmarks import cards
from zoo.benchmarks.results import Record, Store
from zoo.cards import PACKAGED
from zoo.cli.bench import app
from zoo.cli.card import read as read_card
from zoo.errors import UnknownModelError

TOP = Path(__file__).resolve().parents[2]
RESULTS = [path for suite in ("mini", "real") for path in (TOP / "benchmarks" / "results").glob(f"{suite}-*.json")]
INSIDE = [name for name in zoo.list_models() if zoo.info(name).source == PACKAGED]


@pytest.mark.parametrize("name", INSIDE)
def test_packaged_cards_are_up_to_date(name: str) -> None:
    page = registry.ASSETS / name / card_page.PAGE
    assert page.read_text(encoding="utf-8") == cards.page(page.parent, RESULTS), "run: make tables"


@pytest.mark.parametrize("name", INSIDE)
def test_packaged_cards_name_data_license_and_limits(name: str) -> None:
    text = read_card(name)
    assert text.startswith(f"# {name}\n") and all(limit in text for limit in zoo.info(name).limits)
    assert zoo.info(name).training_data in text and "| license | MIT |" in text
    assert read_card(zoo.info(name).family) == text


def test_results_are_those_of_the_weights_and_the_baselines(tmp_path: Path) -> None:
    model = small("hubert-base")
    model.save(tmp_path / "mine")
    old, new = tmp_path / "suite-2000-01-01", tmp_path / "suite-2000-01-02"
    write(old, "former name", 0.4, 0, fingerprint=model.fingerprint())
    write(new, "mine", 0.8, 0, fingerprint=model.fingerprint())
    write(new, "another", 0.5, 1)
    files = [(folder / "results.json").rename(tmp_path / f"{folder.name}.json") for folder in (old, new)]
    runner = CliRunner()
    command = ["card", str(tmp_path / "mine"), *map(str, files)]
    assert runner.invoke(app, [*command, "--check"]).exit_code != 0
    assert runner.invoke(app, command).exit_code == 0
    assert runner.invoke(app, [*command, "--check"]).exit_code == 0
    text = read_card(str(tmp_path / "mine"))
    assert "### Suite suite" in text and "| task (accuracy) | 0.7" in text and "suite-2000-01-02.json" in text
    assert "another" not in text and "former name" not in text, "no other models; the last run counts"
    assert zoo.load(tmp_path / "mine").fingerprint() == model.fingerprint()


def test_the_name_of_a_suite_stays_on_its_line_of_the_card(tmp_path: Path) -> None:
    model = small("hubert-base")
    model.save(tmp_path / "mine")
    store = Store(tmp_path / "out", "x\n# Pwned <script>")
    store.add(Record("task", "class", "m", "model", model.fingerprint(), "d", "k", metric="accuracy", score=0.5))
    text = cards.page(tmp_path / "mine", [tmp_path / "out" / "results.json"])
    assert "### Suite x # Pwned &lt;script> (results.json)" in text and "<script" not in text


def test_a_card_without_a_page_comes_from_the_registry() -> None:
    text = read_card("hubert-large")
    assert "Apache-2.0" in text and "not measured here" in text and "## Limits" not in text
    assert "## Limits\n\n- Padding" in read_card("whisper-tiny.en")
    with pytest.raises(UnknownModelError, match="did you mean hubert-base"):
        read_card("hubert-bse")
