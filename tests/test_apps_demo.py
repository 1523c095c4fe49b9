"""The demonstration, as small as it gets."""

import io
import shlex
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from apps import demo, spoken
from apps.cli import kws
from apps.demo import LANGUAGES, MINE, NAMES, RECORDED, Row, Size
from apps.zoo import BASE, ZOO
from audio_data import mixture
from kws.adapter import read_adapter_config
from kws.base import read_base_config
from kws.errors import KwsError

TINY = Size(turn=2, steps=8)


@dataclass(frozen=True)
class Done:
    out: Path
    rows: list[Row]
    printed: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What one run leaves and prints."""
    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr(demo, "SPEAKERS", 3)
        patch.setattr(mixture, "SPEAKERS", 3)
        patch.setattr(mixture, "TAKES", 1)
        patch.setattr(spoken, "HOURS", 0.01)
        rows = demo.run(out, TINY, 0, "cpu")
    return Done(out, rows, printed.getvalue())


def test_every_language_that_is_supplied_is_heard_and_one_more(done: Done) -> None:
    """Two turns for the one that is at both ends, and for the new one."""
    assert [row.language for row in done.rows] == [*LANGUAGES, MINE]
    first = next(iter(LANGUAGES))
    turns = [3 if name == first else 2 if name == MINE else 1 for name in (*LANGUAGES, MINE)]
    assert [row.said for row in done.rows] == [turn * TINY.turn for turn in turns]


def test_what_is_supplied_hears_voices_that_it_was_not_learnt_from(done: Done) -> None:
    """Not every word, but most; the language of eight steps is another matter."""
    known = [row for row in done.rows if row.language != MINE]
    assert sum(row.right for row in known) >= 0.6 * sum(row.said for row in known)


def test_it_counts_what_was_right_and_says_why_words_were_missed(done: Done) -> None:
    right, said = sum(row.right for row in done.rows), sum(row.said for row in done.rows)
    assert f"{right} of {said} words were recognised correctly." in done.printed
    cells = [line.rstrip("│ ").rpartition("│")[2].strip() for line in done.printed.splitlines()]
    assert cells.count("right") == right
    assert ("missed" in cells) == ("Those missed scored too low" in done.printed)


def test_the_new_language_keeps_its_budget(done: Done) -> None:
    config = read_adapter_config(done.out / MINE)
    assert config.language == MINE
    assert config.budget == demo.BUDGET
    assert config.budget_parameters is not None
    assert 0 < config.spent_parameters <= config.budget_parameters
    assert config.detector.keywords.keys() == set(demo.WORDS)


def test_a_card_names_no_command_that_nobody_typed(done: Done) -> None:
    """Neither for the numbers nor for the thresholds, which are there."""
    card = (done.out / MINE / "README.md").read_text(encoding="utf-8")
    assert "Thresholds for 0.5 false accepts per hour" in card
    assert " by `" not in card


def test_it_says_whom_each_was_learnt_from_and_how_far_to_trust_the_new_one(done: Done) -> None:
    said = " ".join(done.printed.split())
    assert all(NAMES[row.language] in said for row in done.rows)
    assert said.count("synthetic voices") >= len(done.rows)
    assert "How far to trust it: little: only synthetic voices" in said


def test_people_among_synthetic_voices_are_told_of() -> None:
    config = read_adapter_config(ZOO / LANGUAGES["de"])
    mixed = {**config.training, "recordings": {"clips": 100, "people": 10, "made": 4}}
    row = Row("de", replace(config, training=mixed), right=1, said=2)
    assert [*demo._table([row]).columns[2].cells] == ["10 people and synthetic voices"]


def test_the_pictures_are_there_and_the_commands_are_commands(done: Done) -> None:
    lines = [line.strip() for line in done.printed.splitlines()]
    pictures = [Path(line) for line in lines if line.endswith((".png", ".svg"))]
    assert {"screen.svg", "mine-screen.svg", "sites.png"} <= {path.name for path in pictures}
    assert all(path.stat().st_size for path in pictures)
    commands = [shlex.split(line)[1:] for line in lines if " --base " in line or "--whole" in line]
    assert len(commands) == 4
    for name, *words in commands:
        command = kws.get_command(click.Context(kws), name)
        assert command
        command.make_context(name, words)  # every option is there and takes its value


def test_a_picture_offers_no_keys_that_nobody_can_type(done: Done) -> None:
    drawn = (done.out / "screen.svg").read_text(encoding="utf-8")
    assert "kws&#160;listen" in drawn
    assert "mute" not in drawn


def test_recordings_are_heard_where_they_are_given(shared_data: Path, tmp_path: Path) -> None:
    """Of people that no network was learnt from; the base's own language begins."""
    folders = {name: ZOO / folder for name, folder in RECORDED.items()}
    clips = demo._recorded(shared_data / "manifest.csv", folders)
    assert {clip.split for clip in clips} == {"test"}
    labels = {name: read_adapter_config(folder).labels for name, folder in folders.items()}
    labels[demo.OWN] = read_base_config(BASE).labels
    assert all(clip.word in labels[clip.language] for clip in clips)
    found = demo._hear(
        folders, clips, [demo.OWN, "cmn"], TINY, 0, tmp_path / "a.wav", tmp_path / "a.svg"
    )
    assert [said.language for said, _ in found] == ["ara", "ara", "cmn", "cmn"]


def test_recordings_of_other_languages_are_refused(spoken: Path) -> None:
    folders = {name: ZOO / folder for name, folder in RECORDED.items()}
    with pytest.raises(KwsError, match="holds no test recordings in ara, cmn"):
        demo._recorded(spoken, folders)


def test_the_command_runs_it_in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr(demo, "run", lambda *arguments: called.extend(arguments))
    assert CliRunner().invoke(kws, ["demo", "--seed", "3", "--device", "cpu"]).exit_code == 0
    assert called == [Path("runs/demo"), Size(), 3, "cpu", None]


def test_all_that_it_loads_is_supplied() -> None:
    for folder in {*LANGUAGES.values(), *RECORDED.values()}:
        assert read_adapter_config(ZOO / folder).labels
