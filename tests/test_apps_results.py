"""The report says what the records say."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from helpers import Kws, fail

from apps.results.page import write_results, write_summary
from apps.results.paired import paired
from kws.errors import KwsError
from kws.files import write_json


def record(
    method: str, budget: str | None, task: str, seed: int, right: float, **cell: Any
) -> dict[str, Any]:
    measured = {"accuracy": right, "worst_speaker": {"accuracy": right}}
    own = {"task": task, "seed": seed, "method": method, "budget": budget, "tau": None}
    return {
        "cell": own | cell,
        "settings": {"base": "runs/base", "closed": True},
        "result": {"spent_parameters": 100, "stored_bytes": 1_000},
        "validation": measured,
        "test": measured,
    }


def test_the_report_takes_the_rate_that_is_best_on_validation(tmp_path: Path) -> None:
    """By what both rates ran, for each method by itself, whatever the test says."""
    records = []
    for method, seed, lr, validation, test in (
        ("full", 0, 0.01, 0.90, 0.70),
        ("full", 0, 0.02, 0.80, 0.99),
        ("full", 1, 0.01, 0.50, 0.72),  # alone: it decides nothing
        ("head", 0, 0.01, 0.60, 0.50),
        ("head", 0, 0.02, 0.61, 0.40),
    ):
        run = record(method, None, "a", seed, test, lr=lr)
        run["validation"] = {"accuracy": validation}
        records.append(run)
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| full | - | 0.01 | 100 | 1,000 | 71.0 ± 1.4 | 70.0 ± 28.3 | 2 |" in page
    assert "| head | - | 0.02 | 100 | 1,000 | 40.0 | 61.0 | 1 |" in page


def test_rates_that_were_run_further_are_compared_by_all_that_they_ran(tmp_path: Path) -> None:
    """A rate tried with the first seed alone decides about itself, and no more."""
    rights = {0.01: (0.93, 0.80, 0.80), 0.02: (0.92, 0.90, 0.90), 0.04: (0.91,)}
    for best, first in ((0.02, 0.91), (0.04, 0.94)):
        records = []
        for lr, some in (rights | {0.04: (first,)}).items():
            for seed, validation in enumerate(some):
                run = record("full", None, "a", seed, lr, lr=lr)
                run["validation"] = {"accuracy": validation}
                records.append(run)
        write_results(records, tmp_path / "results.md")
        page = (tmp_path / "results.md").read_text(encoding="utf-8")
        assert f"| full | - | {best} | 100 |" in page


def test_rates_that_ran_nothing_alike_cannot_be_compared(tmp_path: Path) -> None:
    records = [record("full", None, "a", seed, 0.9, lr=lr) for seed, lr in ((0, 0.01), (1, 0.02))]
    with pytest.raises(KwsError, match="rates of full have no task and seed in common"):
        write_results(records, tmp_path / "results.md")


def test_a_run_of_two_grids_counts_once(tmp_path: Path) -> None:
    """One spells its rate out, another takes the usual one, a third tells what it went by."""
    records = [record("full", None, "a", 0, 0.9, lr=lr) for lr in (0.02, None)]
    records.append(record("full", None, "a", 0, 0.9) | {"recipe": {"lr": 0.02, "steps": 4_000}})
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| full | - | 0.02 | 100 | 1,000 | 90.0 | 90.0 | 1 |" in page


@pytest.mark.parametrize("other", [{"data": "b.csv"}, {"tasks": {"a": ["language=es"]}}])
def test_different_recordings_of_one_name_are_not_mixed(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    records = [record(method, None, "a", 0, 0.9) for method in ("full", "head")]
    common = {"data": "a.csv", "tasks": {"a": ["language=de"]}}
    for run in records:
        run["settings"] |= common
    write_results(records, tmp_path / "results.md")
    records[1]["settings"] |= other
    with pytest.raises(KwsError, match="two grids call different recordings 'a'"):
        write_results(records, tmp_path / "results.md")


def test_recordings_that_have_changed_since_are_not_mixed(tmp_path: Path) -> None:
    records = [record(method, None, "a", 0, 0.9) for method in ("full", "head")]
    for run, count in zip(records, (20, 20), strict=True):
        run["test"] = run["test"] | {"per_word": {"ja": {"count": count}}}
    write_results(records, tmp_path / "results.md")
    records[1]["test"]["per_word"] = {"ja": {"count": 32}}
    with pytest.raises(KwsError, match=r"'a' were evaluated on different recordings.*--again"):
        write_results(records, tmp_path / "results.md")
    records[1]["cell"]["before"] = ["b"]  # which may have had people of its own in other splits
    write_results(records, tmp_path / "results.md")


def test_what_was_learnt_from_different_languages_at_once_is_not_mixed(tmp_path: Path) -> None:
    records = [record("joint", None, "a", seed, 0.9) for seed in (0, 1)]
    for run, beside in zip(records, "bc", strict=True):
        run["settings"]["tasks"] = {"a": ["language=de"], beside: ["language=es"]}
    with pytest.raises(KwsError, match="two grids learn joint from different tasks"):
        write_results(records, tmp_path / "results.md")


def test_methods_that_did_not_run_everywhere_are_named(tmp_path: Path) -> None:
    """And where SWR is not among them, nothing is compared with it."""
    records = [
        record(method, None, task, 0, 0.9) for method, task in product(("full", "head"), "ab")
    ]
    records.append(record("even", "10%", "a", 0, 0.9))
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "Not run on all of these, and so left out: even 10%." in page
    assert "Paired differences" not in page


def test_who_may_have_been_trained_on_is_said(tmp_path: Path) -> None:
    records = [record("full", None, task, 0, 0.9) for task in ("a", "b")]
    where = "but that in b this is not known"
    for found, told in (
        ({"split_by": "people"}, "none of whom was trained on;"),
        ({"split_by": "people", "made": 3}, "on, but that in b some are synthetic voices;"),
        ({"split_by": "people", "heard_before": 2}, ", but that in b some were, in other record"),
        ({"split_by": "files"}, f"{where};"),
        ({"split_by": "files", "heard_before": 2}, f"{where} and in b some were, in other"),
    ):
        records[1]["test"] = record("full", None, "b", 0, 0.9)["test"] | found
        write_results(records, tmp_path / "results.md")
        assert told in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_streams_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    """Their rows and pictures could not be told apart."""
    streams = [{"cell": {"task": "mandarin", "seed": 0}, "stream": {}}] * 2
    with pytest.raises(KwsError, match="two grids have streams 'mandarin'"):
        write_results(streams, tmp_path / "results.md")


def test_the_report_keeps_few_recordings_apart(tmp_path: Path) -> None:
    """In a table of their own, a column for each number of clips."""
    records = [record("full", None, "a", 0, 0.95)]
    for clips, right in ((5, 0.6), (20, 0.8)):
        records += [
            record("full", None, "a", seed, right + 0.1 * seed, per_word=clips) for seed in (0, 1)
        ]
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| task | method | budget | 5 clips a word | 20 clips a word | seeds |" in page
    assert "| a | full | - | 65.0 ± 7.1 | 85.0 ± 7.1 | 2 |" in page
    assert "| full | - | 0.02 | 100 | 1,000 | 95.0 | 95.0 | 1 |" in page


def test_the_report_holds_means_spread_and_paired_differences(tmp_path: Path) -> None:
    records = [
        record(method, budget, task, seed, right + 0.01 * seed)
        for task in ("a", "b")
        for seed in (0, 1)
        for method, budget, right in (
            ("swr", "10%", 0.9),
            ("random", "10%", 0.8),
            ("full", None, 0.95),
        )
    ]
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| swr | 10% | 0.02 | 90.5 ± 0.7 | 90.5 ± 0.7 | **90.50** | 1,000 | 90.0 | 2 |" in page
    assert "| swr 10% - full | -5.00 ± 0.00 (standard error) | 0 better, 0 equal, 4 worse |" in page
    assert "| swr 10% - random 10% | +10.00 ± 0.00" in page
    assert (tmp_path / "accuracy_by_bytes.png").stat().st_size > 10_000


def test_differences_are_of_languages_and_their_error_is_over_them(tmp_path: Path) -> None:
    """Seeds of one language are no evidence of another: 10 and 2 points are 6 and an error of 4."""
    records = []
    for task, ahead in (("a", (0.08, 0.12)), ("b", (0.02,))):
        for seed, points in enumerate(ahead):
            records.append(record("swr", "10%", task, seed, 0.8 + points))
            records.append(record("head", None, task, seed, 0.8))
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| swr 10% - head | +6.00 ± 4.00 (standard error) | 3 better, 0 equal, 0 worse |" in page


def test_swr_is_compared_with_the_best_of_what_stores_no_more(tmp_path: Path) -> None:
    """By what one run stores; the best on validation, whatever it has on test."""
    records = [record("swr", "10%", task, seed, 0.9) for task in "ab" for seed in (0, 1)]
    for budget, size, right in (
        ("2%", 200, 0.7),
        ("5%", 500, 0.8),
        ("9%", 900, 0.7),
        ("20%", 2_000, 0.9),
    ):
        for task, seed in product("ab", (0, 1)):
            run = record("random", budget, task, seed, 1.5 - right)
            run["validation"] = {"accuracy": right}
            run["result"] = {"spent_parameters": size, "stored_bytes": size}
            records.append(run)
    for task in "ab":
        run = record("largest", "10%", task, 0, 0.8)
        run["result"] = {"spent_parameters": 1_000, "stored_bytes": 1_020}
        records.append(run)
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "swr 10% - random 5%" in page
    assert "swr 10% - largest 10%" in page  # that names its sites in a few bytes more
    assert "swr 10% - random 9%" not in page
    assert "swr 10% - random 20%" not in page


def test_the_summary_stands_between_its_marks(tmp_path: Path) -> None:
    """And takes the place of what stood there; a page without marks is left alone."""
    records = [record("swr", "10%", task, 0, 0.9) for task in ("a", "b")]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results: x -->\nold\n<!-- /results -->\nafter\n", "utf-8")
    for _ in range(2):
        write_summary(records, page)
    text = page.read_text("utf-8")
    assert "old" not in text
    assert text.startswith("before\n<!-- results: x -->\nAccuracy")
    assert text.count("Accuracy") == 1
    assert text.endswith("\n<!-- /results -->\nafter\n")
    page.write_text("nothing\n", "utf-8")
    write_summary(records, page)
    assert page.read_text("utf-8") == "nothing\n"


def test_the_summary_puts_methods_beside_budgets(tmp_path: Path) -> None:
    """Means over tasks and their spread over seeds; what not all tasks have is left out."""
    records = [
        record(method, budget, task, seed, right + 0.02 * (task == "b") + 0.02 * seed, **bits)
        for task in ("a", "b")
        for seed in (0, 1)
        for method, budget, right, bits in (
            ("even", "10%", 0.8, {}),
            ("swr", "10%", 0.9, {}),
            ("even", "2%", 0.6, {}),
            ("swr", "2%", 0.7, {}),
            ("swr", "900", 0.5, {"bits": 4}),  # no other method has it
            ("full", None, 0.95, {}),
        )
    ]
    records += [record("last", "2%", "a", 0, 0.7)]
    records[0]["result"] = {"spent_parameters": 100, "stored_bytes": 900}
    page = tmp_path / "page.md"
    page.write_text("<!-- results: x -->\n<!-- /results -->\n", "utf-8")
    write_summary(records, page)
    head, _, *table = page.read_text("utf-8").split("\n")[1:]
    assert head.startswith("Accuracy in per cent on test people, mean of a, b ±")
    assert table == [
        "| method | 2% | 10% |",
        "| --- | --- | --- |",
        "| swr | 72.0 ± 1.4 | 92.0 ± 1.4 |",
        "| even | 62.0 ± 1.4 | 82.0 ± 1.4 |",
        "| *stored bytes* | 1,000 | 900 to 1,000 |",
        "",
        "Without a budget: full 97.0 ± 1.4 in 1,000 bytes.",
        "<!-- /results -->",
        "",
    ]


def test_the_report_compares_only_what_was_trained_alike(tmp_path: Path) -> None:
    """Several languages in one setting, more methods on one of them in another."""
    broad = [record("swr", "10%", task, 0, 0.9) for task in ("a", "b")]
    broad += [record("full", None, task, 0, 0.95) for task in ("a", "b")]
    deep = [record(method, "10%", "a", 0, 0.7) for method in ("swr", "random", "last")]
    for run in deep:
        run["settings"] |= {"steps": 100}
    write_results(broad + deep, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    several, one = page.split("## Methods side by side")
    assert "| swr | 10% | 0.02 | 90.0 | 90.0 | **90.00** |" in several
    assert "| swr 10% - full | -5.00" in several
    assert "- random" not in several
    assert "100 steps for every method" in one
    assert "| swr | 10% | 0.02 | 100 | 1,000 | 70.0 | 70.0 | 1 |" in one
    assert "| swr 10% - last 10% | +0.00" in one
    assert "| full |" not in one


def test_the_report_pairs_causal_runs_with_those_that_hear_all(tmp_path: Path) -> None:
    """A run without a pair is in no difference, and causal runs have tables of their own."""
    whole = [record("swr", "10%", "a", seed, 0.9) for seed in (0, 1)]
    causal = [record("swr", "10%", "a", seed, 0.88) | {"causal": True} for seed in (1, 2)]
    write_results(whole + causal, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| a | swr 10% | 88.0 | 90.0 | -2.00 | 1 |" in page
    several, own = page.split("## Methods side by side: base-causal")
    assert "| swr | 10% | 0.02 | 100 | 1,000 | 90.0 ± 0.0 | 90.0 ± 0.0 | 2 |" in several
    assert "| swr | 10% | 0.02 | 100 | 1,000 | 88.0 ± 0.0 | 88.0 ± 0.0 | 2 |" in own


def test_causal_runs_are_paired_with_whole_ones_of_the_same_settings(tmp_path: Path) -> None:
    """Not with those of few recordings, of another base, or open where these are closed."""
    records = [record("swr", "10%", "a", 0, 0.88) | {"causal": True}]
    records += [record("swr", "10%", "a", 0, 0.5, per_word=5)]
    for other in ({"base": "runs/narrow"}, {"closed": False}, {"steps": 9}):
        records.append(record("swr", "10%", "a", 0, 0.6))
        records[-1]["settings"] |= other
    write_results(records, tmp_path / "results.md")
    assert "What causality costs" not in (tmp_path / "results.md").read_text("utf-8")


def test_closed_bases_are_paired_with_closed_ones(tmp_path: Path) -> None:
    records = [record("", None, "a", 0, right, tau=2) for right in (0.96, 0.97, 0.8)]
    for run, other in zip(records, ({}, {}, {"closed": False}), strict=True):
        run["result"] = {"parameters": 29_104, "seconds": 60.0}
        run["settings"] |= other
    records[0]["causal"] = True
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| a | base τ=2 | 96.0 | 97.0 | -1.00 | 1 |" in page


def test_settings_of_one_base_and_length_have_pictures_of_their_own(tmp_path: Path) -> None:
    records = []
    for closed, bits, right in ((True, None, 0.9), (False, None, 0.8), (True, 16, 0.7)):
        for task in "ab":
            records.append(record("swr", "10%", task, 0, right))
            records[-1]["settings"] |= {"closed": closed, "bits": bits, "base": "runs/x"}
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    pictures = [line for line in page.splitlines() if line.startswith("![test accuracy")]
    assert len(set(pictures)) == len(pictures) == 3
    assert len(list(tmp_path.glob("accuracy_by_bytes*.png"))) == 3
    assert page.count("numbers of 16 bits") == 1


def test_where_methods_ran_on_different_tasks_each_task_has_a_table(tmp_path: Path) -> None:
    records = [record("swr", "10%", task, 0, 0.9) for task in ("a", "b")]
    records += [record(method, "10%", "a", 0, 0.8) for method in ("last", "random", "even")]
    records += [record("largest", "10%", "b", 0, 0.7)]
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    on_a, on_b = page.split("On a.")[1].split("On b.")
    assert "| random |" in on_a
    assert "| largest |" not in on_a
    assert "| largest | 10% | 0.02 | 100 | 1,000 | 70.0 | 70.0 | 1 |" in on_b
    assert "| swr 10% - largest 10% | +20.00 |" in on_b


def test_bases_are_told_with_the_worst_person_of_all_seeds(tmp_path: Path) -> None:
    records = [record("", None, "a", seed, right, tau=2) for seed, right in ((0, 0.9), (1, 0.8))]
    for run in records:
        run["result"] = {"parameters": 29_104, "seconds": 60.0}
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    row = "| a, 4,000 steps, closed | τ=2 | 29,104 | 85.0 ± 7.1 | 85.0 ± 7.1 | 80.0 | 1 | 2 |"
    assert row in page


def test_what_deciding_for_each_clip_costs_is_said(tmp_path: Path) -> None:
    """Of a network of the base's width, where that is known; of no other method."""
    base = record("", None, "a", 0, 0.9, tau=1)
    base["result"] = {"parameters": 10_156, "seconds": 60.0}
    for method, name, said in (
        ("spottune", "a-tau1-0", 1),
        ("full", "a-tau1-0", 0),
        ("spottune", "elsewhere", 0),
    ):
        run = record(method, None, "b", 0, 0.9)
        run["settings"]["base"] = f"runs/{name}"
        write_results([base, run], tmp_path / "results.md")
        page = (tmp_path / "results.md").read_text(encoding="utf-8")
        assert page.count("1,513,808 multiply-accumulates to those of a second (63%)") == said


def test_bases_of_another_language_or_length_are_other_bases(tmp_path: Path) -> None:
    records = [record("", None, task, 0, 0.9, tau=2) for task in ("a", "b", "a")]
    for run in records:
        run["result"] = {"parameters": 29_104, "seconds": 60.0}
    records[2]["settings"]["epochs"] = 2
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    for named in ("a, 4,000 steps, closed", "b, 4,000 steps, closed", "a, 2 epochs, closed"):
        assert f"| {named} | τ=2 | 29,104 | 90.0 | 90.0 | 90.0 | 1 | 1 |" in page


def test_a_base_of_two_grids_counts_once_and_other_rates_are_other_bases(tmp_path: Path) -> None:
    records = [record("", None, "a", 0, right, tau=2) for right in (0.9, 0.9, 0.5)]
    for run in records:
        run["result"] = {"parameters": 29_104, "seconds": 60.0}
    records[1]["settings"]["lr"] = 6e-3  # the usual one, spelt out
    records[2]["settings"] |= {"lr": 0.1, "per_word": 5}
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| a, 4,000 steps, closed | τ=2 | 29,104 | 90.0 | 90.0 | 90.0 | 1 | 1 |" in page
    assert "| a, 4,000 steps, 5 clips a word, rate 0.1, closed | τ=2 | 29,104 | 50.0 |" in page


def test_few_recordings_of_other_settings_have_a_table_of_their_own(tmp_path: Path) -> None:
    records = [record("full", None, "a", seed, 0.9, per_word=5) for seed in (0, 1)]
    records[1]["settings"]["steps"] = 100
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert page.count("| a | full | - | 90.0 | 1 |") == 2
    for length in ("4,000 steps", "100 steps"):
        assert f"Base runs/base; {length} for every method, 4 epochs at least in stages; at" in page


def test_the_error_beside_drawn_sites_is_over_draws_where_it_is_larger(tmp_path: Path) -> None:
    """All languages of a seed have the same sites: few draws, however many languages."""
    records = [record("swr", "10%", task, seed, 0.9) for task, seed in product("ab", (0, 1))]
    for method in ("random", "last"):
        records += [
            record(method, "10%", task, seed, 0.8 - 0.1 * seed)
            for task, seed in product("ab", (0, 1))
        ]
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| swr 10% - random 10% | +15.00 ± 5.00 (standard error) |" in page
    assert "| swr 10% - last 10% | +15.00 ± 0.00 (standard error) |" in page


def test_the_larger_error_beside_drawn_sites_changes_no_mean(tmp_path: Path) -> None:
    """Languages may have run with different seeds."""
    ran = [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    records = [record("swr", "10%", *run, 0.9) for run in ran]
    for method in ("random", "last"):
        rivals = zip(ran, (0.8, 0.8, 1.0, 0.88), strict=True)
        records += [record(method, "10%", *run, right) for run, right in rivals]
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| swr 10% - last 10% | +2.67 ± 0.67 (standard error) |" in page
    assert "| swr 10% - random 10% | +2.67 ± 6.11 (standard error) |" in page


def test_what_was_trained_longest_comes_first(tmp_path: Path) -> None:
    """Also where the length is the usual one, which no grid spells out."""
    records = [record("swr", "10%", task, 0, 0.9) for task in "ab"]
    for task in "ab":
        records.append(record("swr", "10%", task, 0, 0.5))
        records[-1]["settings"]["steps"] = 100
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert page.index("4,000 steps for every method") < page.index("100 steps for every method")


def test_a_grid_that_is_not_finished_can_be_reported(tmp_path: Path) -> None:
    """Also one with budgets in bytes: no seed ran on all tasks."""
    records = [
        record("swr", budget, task, seed, 0.9)
        for budget in ("2KiB", "10KiB")
        for task, seed in (("a", 0), ("b", 1))
    ]
    write_results(records, tmp_path / "results.md")
    rows = (tmp_path / "results.md").read_text("utf-8").split("\n| swr | ")[1:]
    assert [row.split(" | ")[0] for row in rows[:2]] == ["2KiB", "10KiB"]
    assert "| 90.0 | 90.0 | - |" in rows[0], "a mean of different seeds compares with no other"
    records.append(record("swr", "2KiB", "b", 0, 0.7))
    write_results(records, tmp_path / "results.md")
    assert "| 90.0 | 80.0 ± 14.1 | **80.00** |" in (tmp_path / "results.md").read_text("utf-8")


def test_a_sequence_begins_with_its_own_first_run(tmp_path: Path) -> None:
    """Not with one of another base or rate, however good on validation."""
    records = [
        record("cacl", "10%", "a", 0, 0.8) | {"base_sha256": "own"},
        record("cacl", "10%", "b", 0, 0.6, before=["a"]) | {"base_sha256": "own"},
        record("cacl", "10%", "a", 0, 0.9, lr=0.04) | {"base_sha256": "own"},
        record("cacl", "10%", "a", 0, 0.9) | {"base_sha256": "another"},
    ]
    records[1]["result"] = {"spent_parameters": 100, "stored_bytes": 1_800}
    records[3]["settings"]["base"] = "runs/other"
    for some in (records, records[::-1]):
        write_results(some, tmp_path / "results.md")
        page = (tmp_path / "results.md").read_text(encoding="utf-8")
        assert "| cacl 10% | 0 | a 80.0 (100) | b 60.0 (0) | 70.0 | 1,000; 1,800 |" in page


def test_a_sequence_is_of_one_number_of_clips(tmp_path: Path) -> None:
    records = [
        record("cacl", "10%", task, 0, right - 0.1 * bool(before), before=before, per_word=clips)
        for clips, right in ((5, 0.6), (20, 0.9))
        for task, before in (("a", []), ("b", ["a"]))
    ]
    records.append(record("cacl", "10%", "a", 0, 0.3))
    for some in (records, records[::-1]):
        write_results(some, tmp_path / "results.md")
        page = (tmp_path / "results.md").read_text(encoding="utf-8")
        for first, second, mean in ((60, 50, 55), (90, 80, 85)):
            assert f"| a {first}.0 (100) | b {second}.0 (0) | {mean}.0 |" in page


def test_orders_of_languages_may_be_of_different_lengths(tmp_path: Path) -> None:
    records = [
        record("cacl", "10%", task, 0, 0.8, before=list(before))
        for task, before in (("a", ""), ("b", "a"), ("c", "ab"), ("b", ""), ("a", "b"))
    ]
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| method | seed | 1 | 2 | 3 | mean | stored bytes |" in page
    assert "| cacl 10% | 0 | b 80.0 (100) | a 80.0 (0) |  | 80.0 | 1,000; 1,000 |" in page


@pytest.mark.parametrize(
    "left",
    [
        "{}",
        '{"cell": {"tau": 2}, "settings": {}}',
        '{"cell": {}, "settings": {}, "validation": {}, "test": {}}',
        '{"cell": {}, "stream": {}}',
        '{"cell": {}, "stream": 1}',
    ],
)
def test_a_file_that_is_no_record_is_named(left: str, kws: Kws, tmp_path: Path) -> None:
    (tmp_path / "swr.json").write_text(left, encoding="utf-8")
    told = fail(kws, 1, "bench", "report", "--records", tmp_path, "--out", tmp_path / "page.md")
    assert f"{tmp_path / 'swr.json'} is not a run's record; --records" in told


def test_only_this_projects_page_has_its_networks_and_its_readme(
    kws: Kws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever one is; in another folder the same names are another's."""
    for task in "ab":
        write_json(tmp_path / f"docs/records/{task}.json", record("swr", "10%", task, 0, 0.9))
    marks = "<!-- results: x -->\n<!-- /results -->\n"
    (tmp_path / "README.md").write_text(marks, "utf-8")
    monkeypatch.chdir(tmp_path)
    code, _, err = kws("bench", "report")
    assert code == 0, err
    assert "Supplied networks" not in Path("docs/results.md").read_text("utf-8")
    assert Path("README.md").read_text("utf-8") == marks
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps/bench.py").touch()
    monkeypatch.chdir("docs")
    code, _, err = kws("bench", "report", "--records", "records", "--out", "results.md")
    assert code == 0, err
    page = Path("results.md").read_text("utf-8")
    assert "Supplied networks" in page
    assert "records in `docs/records`" in page
    assert "Accuracy" in Path("../README.md").read_text("utf-8")


def test_each_width_of_bits_is_a_row_of_its_own(tmp_path: Path) -> None:
    """Beside what is trained whole, and no rival of the other; the usual width is not told."""
    records = [record("full", None, task, 0, 0.9) for task in "ab"]
    for bits, right in ((8, 0.8), (4, 0.7)):
        records += [record("swr", "80", task, 0, right, bits=bits) for task in "ab"]
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| swr | 80 | 0.02 | 80.0 | 80.0 |" in page
    assert "| swr, 4 bits | 80 | 0.02 | 70.0 | 70.0 |" in page
    assert "| swr 80 - full | -10.00 ± 0.00" in page
    assert "swr 80 - swr, 4 bits" not in page


def test_a_rate_that_diverged_anywhere_is_not_the_best(tmp_path: Path) -> None:
    """Else it would be left out of the comparison of the others, too."""
    records = []
    for task, lr, validation, test in (
        ("a", 0.01, 0.80, 0.80),
        ("b", 0.01, 0.95, 0.95),
        ("a", 0.02, 0.82, 0.82),
        ("b", 0.02, 0.60, 0.60),
        ("a", 0.08, 0.99, 0.99),
    ):
        run = record("full", None, task, 0, test, lr=lr)
        run["validation"] = {"accuracy": validation}
        records.append(run)
    lost = record("full", None, "b", 0, 0.0, lr=0.08)
    records.append({name: lost[name] for name in ("cell", "settings")} | {"diverged": "so it is"})
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| full | - | 0.01 | 80.0 | 95.0 | **87.50** |" in page


def test_a_rate_that_diverged_with_few_recordings_may_be_the_best_with_more(tmp_path: Path) -> None:
    records = [record("full", None, "a", 0, 0.9, per_word=clips, lr=0.02) for clips in (5, 10)]
    del records[0]["validation"], records[0]["test"], records[0]["result"]
    records[0] |= {"diverged": "so it is"}
    write_results(records, tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| a | full | - | 90.0 | 1 |" in page


def test_runs_on_two_bases_of_one_folder_are_not_compared(tmp_path: Path) -> None:
    records = [record(method, None, "a", 0, 0.9) for method in ("full", "head")]
    for run, digest in zip(records, "ab", strict=True):
        run["base_sha256"] = 64 * digest
    told = r"runs on runs/base are of two bases \(aaaaaaaa and bbbbbbbb\)"
    with pytest.raises(KwsError, match=told):
        write_results(records, tmp_path / "results.md")


def test_a_seed_that_did_not_run_on_all_tasks_is_in_no_mean_over_them(tmp_path: Path) -> None:
    """Else an easy language would count twice."""
    rights = (("a", 0, 0.9), ("b", 0, 0.5), ("a", 1, 0.9))
    records = [record("full", None, task, seed, right) for task, seed, right in rights]
    page = tmp_path / "page.md"
    page.write_text("<!-- results: x -->\n<!-- /results -->\n", "utf-8")
    write_summary(records, page)
    assert "Without a budget: full 70.0 in 1,000 bytes." in page.read_text("utf-8")


def test_other_people_are_other_recordings(tmp_path: Path) -> None:
    """However many of each word there are."""
    records = [record(method, None, "a", 0, 0.9) for method in ("full", "head")]
    for run, name in zip(records, ("ann", "ben"), strict=True):
        counted = {"per_word": {"ja": {"count": 9}}, "per_speaker": {name: {"count": 9}}}
        run["test"] = run["test"] | counted
    with pytest.raises(KwsError, match="'a' were evaluated on different recordings"):
        write_results(records, tmp_path / "results.md")


def test_what_is_equal_is_neither_better_nor_worse() -> None:
    records = [record("head", None, "a", seed, 0.8) for seed in (0, 1, 2)]
    records += [record("swr", "10%", "a", seed, 0.3 + 0.5 * seed) for seed in (0, 1, 2)]
    assert "| 1 better, 1 equal, 1 worse |" in paired(records)
