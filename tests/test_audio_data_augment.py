"""Augmentation does what it is told, and the same again from the same generator."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from audio_data.augment import (
    AugmentConfig,
    add_noise,
    crop_at_speed,
    draw_noise,
    draw_suppression,
    equalise,
    mask_features,
    rms,
    uniform,
)
from audio_data.batches import (
    LAG,
    LATE,
    LOUDEST_NOISE,
    SOFTEST,
    TrainingBatches,
    Views,
    fixed_features,
)
from audio_data.features import LogMel
from kws.config import FeatureConfig

FEATURES = FeatureConfig()
MARGIN = AugmentConfig().shift
PLAIN = AugmentConfig(
    speed=0.0,
    gain=(0.0, 0.0),
    apart=0.0,
    equaliser=0.0,
    snr=(90.0, 90.0),
    suppression=0.0,
    masks=0,
)
STILL = replace(PLAIN, probability=0.0)  # nothing is augmented
FRAMED = replace(STILL, masks=2, mask_bands=0)
BETWEEN_SAMPLES = 1e-3  # of full scale: places are float32, so a sample is read a little beside


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(seconds: int = 3, seed: int = 9) -> Tensor:
    """Noise of unit power."""
    wave = torch.randn(seconds * FEATURES.sample_rate, generator=generator(seed))
    return wave / wave.square().mean().sqrt()


def views(clips: int = 12, silent: int = 4, margin: int = MARGIN) -> Views:
    """Noises as recordings, each of its own level, then silent rows."""
    rng = np.random.default_rng(0)
    levels = np.linspace(500, 3_000, clips)[:, None]
    waves = rng.normal(0, 1, (clips, FEATURES.view + 2 * margin)) * levels
    labels = [number % 3 for number in range(clips)] + [3] * silent
    return Views.build(waves.astype(np.int16), labels, silent, margin)


def training(augment: AugmentConfig, seed: int = 0, batch: int = 5) -> TrainingBatches:
    return TrainingBatches(views(), noise(), FEATURES, augment, batch=batch, seed=seed)


def decibels(ratio: Tensor) -> Tensor:
    return 20 * ratio.log10()


@pytest.mark.parametrize("point", range(5))
def test_an_equaliser_raises_what_it_is_told_to(point: int) -> None:
    """One of five points on the mel scale up to 8 kHz, and none of the others."""
    points = [round(700 * math.expm1(math.log1p(8_000 / 700) * p / 4)) for p in range(5)]
    time = torch.arange(FEATURES.sample_rate) / FEATURES.sample_rate
    gains = torch.zeros(1, 5)
    gains[0, point] = 12.0
    for tone, raised in zip(points, gains[0].tolist(), strict=True):
        wave = torch.cos(2 * torch.pi * tone * time)[None]
        change = decibels(rms(equalise(wave, gains)) / rms(wave))
        assert change.item() == pytest.approx(raised, abs=0.2), tone


@pytest.mark.parametrize("snr", [-5.0, 0.0, 5.0, 30.0])
def test_noise_is_mixed_at_the_snr_asked_for(snr: float) -> None:
    """Whatever the levels of speech and noise."""
    waves = torch.randn(4, 1_000, generator=generator(1)) * torch.tensor([[1e-3], [0.1], [1], [9]])
    hiss = torch.randn(4, 1_000, generator=generator(2)) * torch.tensor([[5], [1e-2], [1], [2]])
    mixed = add_noise(waves, hiss, torch.full((4, 1), snr))
    heard = decibels(rms(waves) / rms(mixed - waves))
    torch.testing.assert_close(heard, torch.full((4, 1), snr), atol=0.01, rtol=0)


def test_every_row_has_its_own_snr() -> None:
    waves, hiss = (torch.randn(3, 500, generator=generator(seed)) for seed in (1, 2))
    wanted = torch.tensor([[0.0], [10.0], [20.0]])
    mixed = add_noise(waves, hiss, wanted)
    torch.testing.assert_close(decibels(rms(waves) / rms(mixed - waves)), wanted, atol=0.01, rtol=0)


def test_words_of_a_batch_are_heard_in_noise_of_different_levels() -> None:
    many = views(clips=60, silent=0)
    augment = replace(PLAIN, probability=1.0, shift=0, snr=(0.0, 30.0))
    rows = torch.arange(60)[:, None]
    heard = TrainingBatches(many, noise(), FEATURES, augment)._waves(rows, generator())
    plain = many.waves[:, MARGIN : MARGIN + FEATURES.view].float() / 32_768
    ratios = decibels(rms(plain) / rms(heard - plain))
    assert ratios.min() < 3
    assert ratios.max() > 27


def test_digital_silence_gives_no_infinity() -> None:
    silence, hiss = torch.zeros(1, 500), torch.randn(1, 500, generator=generator())
    assert not add_noise(silence, hiss, torch.zeros(1, 1)).any()
    torch.testing.assert_close(add_noise(hiss, silence, torch.zeros(1, 1)), hiss)


def test_draws_of_an_snr_stay_in_their_range_and_fill_it() -> None:
    drawn = uniform((10_000,), 5.0, 30.0, generator())
    assert drawn.min() >= 5.0
    assert drawn.max() < 30.0
    assert drawn.min() < 5.1
    assert drawn.max() > 29.9


def test_noise_is_cut_from_anywhere_in_the_recording() -> None:
    recording = torch.arange(20.0)
    drawn = draw_noise(recording, 500, 4, generator())
    assert set(drawn[:, 0].tolist()) == set(range(17))  # the last sample too
    torch.testing.assert_close(drawn - drawn[:, :1], torch.arange(4.0).expand(500, 4))


@pytest.mark.parametrize("bands", [0, 1, 3])
def test_masks_are_silence_and_no_wider_than_allowed(bands: int) -> None:
    config = AugmentConfig(mask_bands=bands, mask_frames=20, masks=1)
    features = torch.ones(400, 40, 98)
    masked = mask_features(features, config, generator())
    assert torch.equal(features, torch.ones(400, 40, 98))  # the input is left alone
    lost = masked == 0
    assert torch.equal(lost | (masked == 1), torch.ones_like(lost))
    rows, columns = lost.all(dim=2), lost.all(dim=1)  # [B, F], [B, T]
    assert torch.equal(lost, rows[:, :, None] | columns[:, None, :])  # whole bands and frames
    assert rows.sum(dim=1).unique().tolist() == list(range(bands + 1))
    assert columns.sum(dim=1).unique().tolist() == list(range(21))
    assert all(contiguous(row) for row in [*rows, *columns])
    assert columns.any(dim=0).all()  # every frame can be hit, first and last included


def contiguous(flags: Tensor) -> bool:
    return int((flags[1:] & ~flags[:-1]).sum() + flags[0]) <= 1


def test_two_masks_hit_twice() -> None:
    config = AugmentConfig(mask_bands=3, masks=2)
    masked = mask_features(torch.ones(300, 40, 98), config, generator())
    assert int((masked == 0).all(dim=2).sum(dim=1).max()) > 3


def test_masks_of_no_bands_are_masks_of_frames() -> None:
    """And where there are no masks, none is drawn either."""
    bare, framed = ([x for x, _ in training(config).epoch(0)] for config in (STILL, FRAMED))
    assert any((x == 0).all(dim=1).any() for x in framed)
    assert not any((x == 0).all(dim=1).any() for x in bare)
    draws = generator()
    mask_features(torch.ones(4, 40, 98), STILL, draws)
    assert torch.equal(draws.get_state(), generator().get_state())


def test_shift_stays_within_the_margin_and_reaches_its_ends() -> None:
    """Told by where a click ends up; the word is in the middle of the view when not shifted."""
    margin, count = 6, 400
    waves = np.zeros((count, FEATURES.view + 2 * margin), np.int16)
    waves[:, margin + 8_000] = 20_000
    clicks = Views.build(waves, [0] * count, 0, margin)
    augment = replace(PLAIN, shift=4, probability=1.0)
    shifted = TrainingBatches(clicks, noise(), FEATURES, augment)._waves(
        torch.arange(count)[:, None], generator()
    )
    moved = shifted.argmax(dim=1) - 8_000
    assert sorted(set(moved.tolist())) == list(range(-4, 5))


def test_shift_never_leaves_the_recording() -> None:
    """A margin smaller than the shift bounds it."""
    waves = np.full((200, FEATURES.view + 2 * 3), 10_000, np.int16)
    augment = replace(PLAIN, shift=1_000, probability=1.0)
    small = TrainingBatches(Views.build(waves, [0] * 200, 0, 3), noise(), FEATURES, augment)
    shifted = small._waves(torch.arange(200)[:, None], generator())
    assert shifted.min() > 0.29


def test_untouched_recordings_are_the_middle_of_the_view() -> None:
    """And fixed sets hear the same."""
    all_views = views(silent=0)
    plain = TrainingBatches(all_views, noise(), FEATURES, STILL)
    rows = torch.arange(len(all_views))[:, None]
    heard = plain._waves(rows, generator())
    expected = all_views.waves[:, MARGIN : MARGIN + FEATURES.view].float() / 32_768
    torch.testing.assert_close(heard, expected, atol=BETWEEN_SAMPLES, rtol=0)
    features, labels = fixed_features(all_views, noise(), FEATURES)
    torch.testing.assert_close(features, plain.log_mel(expected))
    assert torch.equal(labels, all_views.labels)


def test_a_share_of_the_clips_is_touched() -> None:
    many = views(clips=400, silent=0)
    augment = replace(PLAIN, probability=0.8, snr=(5.0, 5.0))
    heard = TrainingBatches(many, noise(), FEATURES, augment)._waves(
        torch.arange(400)[:, None], generator()
    )
    plain = many.waves[:, MARGIN : MARGIN + FEATURES.view].float() / 32_768
    share = ((heard - plain).abs() > BETWEEN_SAMPLES).any(dim=1).float().mean()
    assert 0.72 < share < 0.88


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_of_the_words_comes_through_a_narrow_band(share: float) -> None:
    """Nothing above its end is left of those, and nothing is lost below."""
    many = views(clips=400, silent=0)
    augment = replace(STILL, narrow=share, band=(3_000.0, 3_400.0))
    heard = TrainingBatches(many, noise(), FEATURES, augment)._waves(
        torch.arange(400)[:, None], generator()
    )
    plain = many.waves[:, MARGIN : MARGIN + FEATURES.view].float() / 32_768
    loud, expected = (torch.fft.rfft(waves).abs() for waves in (heard, plain))  # by Hz
    torch.testing.assert_close(loud[:, :2_000], expected[:, :2_000], rtol=0.01, atol=0.5)
    lost = loud[:, 5_000:].amax(dim=1) < 0.01 * expected[:, 5_000:].amax(dim=1)
    assert share - 0.08 < lost.float().mean() < share + 0.08


def test_silent_rows_are_noise_between_quiet_and_loud() -> None:
    """Not the recording, not nothing, and labelled as silence."""
    many = views(clips=2, silent=300)
    waves = TrainingBatches(many, noise(), FEATURES, AugmentConfig())._waves(
        torch.arange(302)[:, None], generator()
    )
    levels = decibels(rms(waves[2:])).flatten()
    assert levels.min() > SOFTEST - 1
    assert levels.max() < LOUDEST_NOISE + 1
    assert levels.max() - levels.min() > 0.8 * (LOUDEST_NOISE - SOFTEST)
    assert (many.labels[many.silent] == 3).all()
    assert not many.silent[:2].any()


def test_noise_is_suppressed_in_a_share_of_the_rows() -> None:
    config = AugmentConfig(suppression=0.5, suppressed=(2.0, 6.0))
    times = draw_suppression(1_000, config, generator())
    taken = times[times > 0]
    assert 430 < len(taken) < 570
    assert 2.0 <= taken.min() < 2.1
    assert 5.9 < taken.max() <= 6.0


def test_what_is_suppressed_falls_silent_and_what_is_loud_stays() -> None:
    """Half a second of a tone in noise 30 dB weaker: where there is no tone nothing is left."""
    time = torch.arange(FEATURES.view) / FEATURES.sample_rate
    tone = 0.3 * torch.sin(2 * torch.pi * 1_000 * time) * (time > 0.5)
    wave = (tone + 0.3 * 10 ** (-30 / 20) * noise()[: FEATURES.view])[None]
    log_mel = LogMel(FEATURES)
    plain, same, gated = (
        log_mel(wave, times if times is None else torch.tensor([times]))
        for times in (None, 0.0, 20.0)
    )
    assert torch.equal(plain, same)
    assert (plain > 0).all()
    band = plain[0].mean(dim=1).argmax()
    said = plain[0, band].diff().argmax() + 5
    torch.testing.assert_close(gated[0, band, said:], plain[0, band, said:], atol=0.02, rtol=0)
    assert (gated[0, :, : said - 10] == 0).float().mean() > 0.99


def test_sound_stays_within_full_scale() -> None:
    loud = Views.build(np.full((50, FEATURES.view), 32_767, np.int16), [0] * 50, 0, 0)
    waves = TrainingBatches(loud, noise(), FEATURES, AugmentConfig())._waves(
        torch.arange(50)[:, None], generator()
    )
    assert waves.abs().max() <= 1
    assert waves.isfinite().all()


def batches(training: TrainingBatches, epoch: int) -> list[tuple[Tensor, Tensor]]:
    return list(training.epoch(epoch))


def same(first: Iterator[tuple[Tensor, Tensor]], second: Iterator[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)


def test_an_epoch_repeats_whatever_came_before_it() -> None:
    """So that a run resumed at epoch 3 hears what an uninterrupted one hears there."""
    fresh, used = training(AugmentConfig()), training(AugmentConfig())
    for epoch in range(3):
        list(used.epoch(epoch))
    torch.rand(7)  # global randomness plays no part
    assert same(fresh.epoch(3), used.epoch(3))
    assert not same(fresh.epoch(3), fresh.epoch(4))
    assert not same(fresh.epoch(3), training(AugmentConfig(), seed=1).epoch(3))


@pytest.mark.parametrize("batch", [1, 5, 16, 100])
def test_an_epoch_is_every_clip_once(batch: int) -> None:
    everything = training(STILL, batch=batch)
    heard = list(everything.epoch(0))
    labels = torch.cat([labels for _, labels in heard])
    assert len(heard) == len(everything)
    assert torch.equal(labels.sort().values, everything.views.labels.sort().values)
    plain = fixed_features(views(silent=0), noise(), FEATURES)[0]
    found = torch.cat([features for features, _ in heard])
    distances = torch.cdist(plain.flatten(1), found.flatten(1))  # [clips, rows]
    nearest = distances.argmin(dim=1)
    assert distances.amin(dim=1).max() < 0.1
    assert torch.equal(labels[nearest], views().labels[:12])  # with its own label


def test_fixed_sets_are_fixed() -> None:
    first, second = (fixed_features(views(), noise(), FEATURES) for _ in range(2))
    assert torch.equal(first[0], second[0])


def test_speed_one_is_a_crop() -> None:
    waves = torch.randint(-30_000, 30_000, (3, 40), generator=generator())
    starts = torch.tensor([0, 7, 19])
    heard = crop_at_speed(waves / 32_768, starts, torch.ones(3), 20)
    cut = torch.stack([waves[0, 0:20], waves[1, 7:27], waves[2, 19:39]]) / 32_768
    torch.testing.assert_close(heard, cut, atol=BETWEEN_SAMPLES, rtol=0)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_pitch_and_leaves_the_middle(speed: float) -> None:
    """A tone of 1 kHz is heard higher when played faster; a click at the middle stays there."""
    time = torch.arange(24_000) / FEATURES.sample_rate
    tone = torch.sin(2 * torch.pi * 1_000 * time)[None]
    played = crop_at_speed(tone, torch.tensor([4_000]), torch.tensor([speed]), 16_000)
    assert torch.fft.rfft(played).abs().argmax() == 1_000 * speed
    click = torch.zeros(1, 24_000)
    click[0, 12_000] = 1.0
    played = crop_at_speed(click, torch.tensor([4_000]), torch.tensor([speed]), 16_000)
    assert abs(int(played.argmax()) - 8_000) <= 1


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_speed_invents_nothing_beyond_the_recording(speed: float) -> None:
    """Samples beyond an end repeat the last one; no value is louder than what was recorded."""
    waves = torch.randint(-30_000, 30_000, (4, 30), generator=generator())
    played = crop_at_speed(waves, torch.tensor([0, 5, 10, 10]), torch.full((4,), speed), 20)
    assert played.shape == (4, 20)
    assert (played.amax(dim=1) <= waves.amax(dim=1)).all()
    assert (played.amin(dim=1) >= waves.amin(dim=1)).all()


CONTEXT = 30  # frames


def chained(augment: AugmentConfig, clips: int = 10, batch: int = 10) -> TrainingBatches:
    return TrainingBatches(
        views(clips, silent=0), noise(20), FEATURES, augment, batch=batch, context=CONTEXT
    )


def test_with_a_context_words_are_heard_one_after_another() -> None:
    """Each where the row says that it ends, with its own label, as it sounds by itself."""
    plain = fixed_features(views(10, silent=0), noise(), FEATURES)[0]
    everything = chained(STILL)
    told: list[int] = []
    for features, labels, ends in everything.epoch(0):
        begins = range(CONTEXT, CONTEXT + 400, 100)
        assert features.shape[2] == CONTEXT + 398 + LATE
        late = [end - begin - 97 for end, begin in zip(ends, begins, strict=True)]
        assert min(late) >= 0
        assert max(late) <= LATE
        words = torch.stack([features[:, :, at : at + 98] for at in begins], dim=1)
        distances = torch.cdist(words.flatten(0, 1).flatten(1), plain.flatten(1))
        assert distances.amin(dim=1).max() < 0.1
        nearest = distances.argmin(dim=1)
        assert torch.equal(labels, everything.views.labels[nearest])
        told += nearest.tolist()
    assert len(told) == 12  # ten words fill two rows and a half; the first come again
    assert set(told) == set(range(10))
    assert len(list(everything.epoch(0))) == len(everything)


def test_a_decision_is_trained_at_every_moment_that_a_detector_may_take_it_at() -> None:
    everything = chained(STILL, batch=4)
    found = [batch[2] for index in range(30) for batch in everything.epoch(index)]
    late = {end - CONTEXT - 97 - 100 * number for ends in found for number, end in enumerate(ends)}
    assert late == set(range(LATE + 1))


def test_words_of_a_row_are_about_as_loud_as_each_other() -> None:
    """Rows differ by as much as people and microphones do."""
    waves = torch.full((40, FEATURES.view), 0.1).mul(32_768).to(torch.int16).numpy()
    rows = Views.build(waves, [0] * 40, 0, 0)
    augment = replace(PLAIN, probability=0.0, gain=(-24.0, 0.0), apart=2.0)
    training = TrainingBatches(rows, noise(20), FEATURES, augment, batch=40, context=CONTEXT)
    heard = training._waves(torch.arange(40).view(10, 4), generator())
    words = heard[:, training.lead : training.lead + 4 * FEATURES.view]
    levels = decibels(rms(words.reshape(-1, FEATURES.view))).view(10, 4)
    assert (levels.amax(dim=1) - levels.amin(dim=1)).max() <= 4.01
    assert levels.mean(dim=1).max() - levels.mean(dim=1).min() > 8


def test_of_a_frequent_class_every_epoch_hears_others() -> None:
    many = Views.build(np.zeros((60, FEATURES.view), np.int16), [0] * 10 + [1] * 50, 0, 0)
    training = TrainingBatches(many, noise(), FEATURES, STILL, batch=8, at_most={1: 5})
    told = [torch.cat([labels for _, labels in training.epoch(index)]) for index in range(2)]
    assert [labels.bincount().tolist() for labels in told] == [[10, 5]] * 2
    assert len(training) == len(list(training.epoch(0))) == 2
    orders = [set(training._order(generator(index)).tolist()) for index in range(12)]
    assert all(set(range(10)) <= order for order in orders)
    assert len(set().union(*orders)) > 40


def test_what_comes_before_a_word_is_in_the_same_noise() -> None:
    augment = replace(PLAIN, probability=1.0, snr=(10.0, 10.0))
    everything = chained(augment, clips=8)
    (clips,) = torch.arange(8).view(1, 2, 4)
    heard, quiet = (
        training._waves(clips, generator()) for training in (everything, chained(STILL, clips=8))
    )
    ratio = decibels(rms(quiet[:, everything.lead :]) / rms(heard[:, : everything.lead]))
    assert heard.shape[1] == everything.lead + 4 * FEATURES.view + everything.tail
    assert quiet[:, : everything.lead].abs().max() == 0
    torch.testing.assert_close(ratio, torch.full_like(ratio, 10.0), atol=1.5, rtol=0)


def test_fixed_sets_have_another_word_as_context() -> None:
    """The view itself stays what it is without."""
    plain, labels = fixed_features(views(), noise(), FEATURES)
    features, same_labels = fixed_features(views(), noise(), FEATURES, context=CONTEXT)
    assert torch.equal(labels, same_labels)
    spoken = slice(0, 12)
    assert features.shape[2] == CONTEXT + 98 + LAG
    torch.testing.assert_close(features[spoken, :, CONTEXT : CONTEXT + 98], plain[spoken])
    before = features[:, :, : CONTEXT - 3]  # of these frames none reaches into the view
    assert (before.flatten(1).amax(dim=1) > 0).sum() == 12  # 4 are silent
    again = fixed_features(views(), noise(), FEATURES, context=CONTEXT)[0]
    assert torch.equal(features, again)


def test_fixed_sets_have_another_word_after_them_too() -> None:
    """Told by levels: each recording is a tone of its own."""
    time = np.arange(FEATURES.view) / FEATURES.sample_rate
    tones = [9_000 * np.sin(2 * np.pi * 300 * (number + 1) * time) for number in range(12)]
    rows = Views.build(np.array(tones).astype(np.int16), [0] * 12, 0, 0)
    features, _ = fixed_features(rows, noise(), FEATURES, context=CONTEXT)
    inside, after = (
        features[:, :, at].mean(dim=2).argmax(dim=1)
        for at in (slice(CONTEXT + 4, CONTEXT + 94), slice(CONTEXT + 101, CONTEXT + 98 + LAG - 3))
    )
    assert (inside != after).sum() > 8


@pytest.mark.parametrize(
    "changes",
    [
        {"speed": 0.15},
        {"gain": (-24.0, -12.0)},
        {"equaliser": 9.0},
        {"narrow": 1.0},
        {"suppression": 1.0},
    ],
)
def test_every_setting_is_heard_in_training(changes: dict[str, Any]) -> None:
    """By itself, in half of the clips at least; what is drawn for the others is the same."""
    plain, heard = (
        torch.cat([features for features, _ in training(config).epoch(0)])
        for config in (STILL, replace(STILL, **changes))
    )
    assert ((plain - heard).abs().amax(dim=(1, 2)) > 0.1).float().mean() > 0.5


def test_seeds_share_no_epoch() -> None:
    assert not same(training(AugmentConfig()).epoch(1), training(AugmentConfig(), seed=1).epoch(0))
