"""Adapters are listed, whatever is wrong with one of them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import Kws, refuse_folders, said, succeed

from apps.training.card import card
from kws.adapter import ADAPTER_MODEL, load_adapter, save_adapter
from kws.files import read_json, write_json


def test_adapters_are_listed(kws: Kws, tiny: Path) -> None:
    found = succeed(kws, "adapters", "list", tiny)
    assert [(row["language"], row["method"]) for row in found] == [("de", "swr"), ("es", "last")]
    for row in found:
        assert Path(row["folder"]) == tiny / row["language"]
        assert row["stored_bytes"] == said(tiny, row["language"])["stored_bytes"]
        assert row["base_sha256"] == said(tiny, "base")["sha256"]
    code, out, err = kws("adapters", "list", tiny)
    assert (code, err) == (0, "")
    assert "swr" in out
    assert "last 10%" in out
    assert str(tiny) not in out  # folders are told from the one that was asked for
    assert "base" not in out  # of all


def test_narrow_terminals_still_tell_adapters_apart(
    kws: Kws, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width, last in ((60, "validation"), (50, "validation"), (30, "language")):
        monkeypatch.setenv("COLUMNS", str(width))
        code, out, err = kws("adapters", "list", tiny)
        assert (code, err) == (0, "")
        titles, *rows = (line.split() for line in out.splitlines() if line[:1] in "┃│")
        assert titles[-4:-1:2] == [last, "folder"]
        assert [row[-2] for row in rows if row[1] != "│"] == ["de", "es"]  # some take two lines


def test_bases_are_told_apart_where_there_are_several(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    for language in ("de", "es"):
        shutil.copytree(tiny / language, tmp_path / language)
    path = tmp_path / "es" / "adapter_config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(raw | {"base_sha256": "0123456789"}), encoding="utf-8")
    code, out, err = kws("adapters", "list", tmp_path)
    assert (code, err) == (0, "")
    assert said(tiny, "base")["sha256"][:8] in out
    assert "01234567 " in out


def test_an_adapter_that_nobody_measured_is_listed(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    """In a folder of any name."""
    adapter = load_adapter(tiny / "de")
    config = replace(adapter.config, metrics={})
    save_adapter(tmp_path / "[my] words", replace(adapter, config=config), "")
    (row,) = succeed(kws, "adapters", "list", tmp_path)
    assert row["validation_accuracy"] is None
    code, out, err = kws("adapters", "list", tmp_path)
    assert (code, err) == (0, "")
    assert "[my]" in out


def test_what_is_stored_in_fewer_bits_says_so(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    """In the list and on its card, so that variants can be told apart."""
    adapter = load_adapter(tiny / "de")
    for bits, told in ((8, ""), (4, " 4-bit"), (1, " 1-bit")):
        config = replace(adapter.config, training=adapter.config.training | {"bits": bits})
        save_adapter(tmp_path, replace(adapter, config=config), "")
        (row,) = succeed(kws, "adapters", "list", tmp_path)
        assert row["bits"] == bits
        out = kws("adapters", "list", tmp_path)[1]
        assert ("-bit" in out, f"swr 10%{told}" in " ".join(out.split())) == (bits < 8, True)
        assert ("numbers of its own of 4 bits in" in card(config)) == (bits == 4)
        assert ("numbers of its own of 1 bit in" in card(config)) == (bits == 1)


@pytest.mark.parametrize(("words", "proven"), [(0.1, True), (None, False)])
def test_a_stream_in_which_nobody_spoke_says_nothing_of_speech(
    tiny: Path, words: float | None, proven: bool
) -> None:
    config = load_adapter(tiny / "de").config
    heard = {"per_hour": 0.0, "upper_95": 3.0}
    stream = {
        "hours": 1.0,
        "distinct_hours": {"noise": 0.1} | ({"words": words} if words else {}),
        "points": [{"aim_per_hour": None, "negatives": heard, "snr": {}}],
        "notes": [],
    }
    told = card(replace(config, metrics=config.metrics | {"stream": stream}))
    assert ("how often it fires on speech that goes on for hours" not in told) == proven


def test_a_damaged_adapter_does_not_hide_the_others(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "de", tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "adapter_config.json").write_text("{")
    cut = shutil.copytree(tiny / "es", tmp_path / "cut") / ADAPTER_MODEL
    cut.write_bytes(cut.read_bytes()[:-9])
    code, out, err = kws("adapters", "list", tmp_path, "--json")
    assert code == 1
    assert [row["language"] for row in json.loads(out)] == ["de"]
    assert err.count("\n") == 2
    assert "bad" in err
    assert str(cut) in err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sites", [1, 2]),
        ("base_sha256", None),
        ("base_sha256", 5),
        ("spent_parameters", "x"),
        ("stored_bytes", None),
        ("metrics", None),
    ],
)
def test_a_setting_of_another_type_does_not_hide_the_other_adapters(
    kws: Kws, tiny: Path, tmp_path: Path, name: str, value: object
) -> None:
    shutil.copytree(tiny / "de", tmp_path / "good")
    bad = shutil.copytree(tiny / "es", tmp_path / "bad") / "adapter_config.json"
    raw = json.loads(bad.read_text(encoding="utf-8"))
    bad.write_text(json.dumps(raw | {name: value}), encoding="utf-8")
    code, out, err = kws("adapters", "list", tmp_path)
    assert code == 1
    assert "swr" in out
    assert "last" not in out
    assert name in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("report", [None, {}, {"accuracy": "much"}])
def test_a_measure_that_is_none_is_listed_as_none(
    kws: Kws, tiny: Path, tmp_path: Path, report: object
) -> None:
    """With a language that would mean something to a terminal."""
    adapter = load_adapter(tiny / "de")
    config = replace(adapter.config, language="[/red]x", metrics={"validation": report})
    save_adapter(tmp_path, replace(adapter, config=config), "")
    assert succeed(kws, "adapters", "list", tmp_path)[0]["validation_accuracy"] is None
    code, out, err = kws("adapters", "list", tmp_path)
    assert (code, err) == (0, "")
    assert "[/red]x" in out


def test_adapters_behind_links_in_any_script_are_listed_whatever_the_locale(
    tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "中文").symlink_to(tiny / "de")
    call = [sys.executable, "-c", "from apps.cli import main; main()", "adapters", "list"]
    latin = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [*call, str(tmp_path / "adapters")], env=latin, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "中文" in done.stdout.decode()


def test_an_adapter_that_cannot_be_drawn_is_told(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    """The others are drawn all the same."""
    shutil.copytree(tiny / "de", tmp_path / "good")
    cut = shutil.copytree(tiny / "es", tmp_path / "cut") / ADAPTER_MODEL
    cut.write_bytes(cut.read_bytes()[:-9])
    picture = tmp_path / "p.png"
    command = ["adapters", "picture", tmp_path, "--base", tiny / "base", "--out", picture]
    code, out, err = kws(*command)
    assert (code, out) == (1, f"{picture}: 1 adapter\n")
    assert str(cut) in err
    assert picture.is_file()


def test_a_folder_that_may_not_be_read_is_named_and_the_others_listed(
    kws: Kws, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny / "de", tmp_path / "de")
    shutil.copytree(tiny / "de", tmp_path / "closed")
    refuse_folders(monkeypatch, "closed")
    code, out, err = kws("adapters", "list", tmp_path, "--json")
    assert (code, len(json.loads(out))) == (1, 1)
    assert "closed cannot be read: Permission denied" in err


def test_what_steers_a_terminal_is_not_shown(kws: Kws, tiny: Path, tmp_path: Path) -> None:
    """Adapters come from anybody: not what is in them, nor in their names."""
    shutil.copytree(tiny / "de", tmp_path / "own")
    path = tmp_path / "own" / "adapter_config.json"
    for name in ("method", "base_language", "budget"):
        odd = read_json(tiny / "de" / "adapter_config.json") | {name: "swr\x1b]0;owned\x07"}
        write_json(path, odd)
        code, out, err = kws("adapters", "list", tmp_path)
        assert (code, "\x1b" in out + err, "\x07" in out + err) == (1, False, False)
        assert "holds what cannot be shown" in " ".join(err.split())
    (tmp_path / "own").rename(tmp_path / "own\x1b[2J")
    shutil.copy(tiny / "de" / "adapter_config.json", tmp_path / "own\x1b[2J")
    shown = kws("adapters", "list", tmp_path)[1]
    assert ("\x1b" in shown, r"own\x1b[2J" in shown) == (False, True)
    code, _, err = kws("detect", tmp_path / "a\x1b[2J.wav", "--base", tiny / "base")
    assert (code, "\x1b" in err, r"a\x1b[2J.wav" in err) == (1, False, True)
