"""Pictures can be read by themselves: no two words are called alike, and no names overlap."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from apps.training import pictures
from apps.training.measure import Measured
from apps.training.pictures import _share
from kws.adapter import Adapter
from kws.forms import Mix, Rank, Tied
from kws.sites import find_sites
from kws.train import Epoch
from models.bcresnet import BCResNet

EPOCH = Epoch(loss=1.0, accuracy=0.5, validation=0.5, seconds=1.0, compute_seconds=1.0)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What is drawn instead of being saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(pictures, "save", lambda figure, path: figures.append(figure))
    return figures


def confusion(labels: tuple[str, ...], drawn: list[Figure]) -> Axes:
    truth = np.arange(len(labels))
    report = {"accuracy": 1.0, "count": len(labels)}
    pictures.confusion(Measured(truth, truth, labels, report), Path())
    return drawn[-1].axes[0]


@pytest.mark.parametrize(("count", "written"), [(60, True), (61, False), (2_000, False)])
def test_a_picture_of_many_words_stays_of_a_size(
    count: int, written: bool, drawn: list[Figure]
) -> None:
    """Which memory holds: its names would need inches each."""
    axes = confusion(tuple(f"word{number}" for number in range(count)), drawn)
    assert bool(axes.texts) == written
    assert max(drawn[-1].get_size_inches()) < 25


def test_words_that_sound_alike_are_told_apart(drawn: list[Figure]) -> None:
    """Also from one that is spelt as they sound."""
    axes = confusion(("北京", "背景", "BeiJing", "上海", "\ue000"), drawn)
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        names = [tick.get_text() for tick in ticks]
        assert names[2:4] == ["BeiJing", "ShangHai"]
        assert len(set(names)) == 5
        assert all(names)


def test_a_word_is_no_formula(drawn: list[Figure]) -> None:
    axes = confusion(("a$\\b$", "b"), drawn)
    drawn[-1].draw_without_rendering()
    assert axes.get_xticklabels()[0].get_text() == "a$\\b$"


@pytest.mark.parametrize("epochs", [(1, 1, 9), (4, 4, 24), (1, 1, 2)])
def test_names_of_stages_do_not_overlap(drawn: list[Figure], epochs: tuple[int, int, int]) -> None:
    names = ("transfer", "policy", "final")
    pictures.learning_curves(
        {name: [EPOCH] * count for name, count in zip(names, epochs, strict=True)}, Path()
    )
    drawn[-1].draw_without_rendering()
    for axes in drawn[-1].axes:
        found = [text for text in axes.texts if isinstance(text, Annotation)]
        assert [text.get_text() for text in found] == list(names)
        boxes = [text.get_window_extent() for text in found]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_long_names_leave_room_for_the_title(drawn: list[Figure]) -> None:
    axes = confusion(("北京", "背景", *map(str, range(10))), drawn)
    drawn[-1].draw_without_rendering()
    assert axes.title.get_window_extent().y1 < drawn[-1].bbox.y1 - 2


def test_factors_of_more_numbers_than_weights_are_all_of_a_site(
    network: BCResNet, make_adapter: Callable[..., Adapter]
) -> None:
    site = next(site for site in find_sites(network) if site.name == "blocks.0.point")
    many = site.with_form(Rank(7))
    assert many.size > site.size
    assert _share([many.name], site) == 1.0


def test_what_is_owned_of_a_site_in_two_forms_adds_up(network: BCResNet) -> None:
    site = next(site for site in find_sites(network) if site.name == "blocks.0.point")
    both = [site.with_form(Tied(10)).name, site.with_form(Mix(2)).name]
    assert _share(both, site) == 12 / site.size
