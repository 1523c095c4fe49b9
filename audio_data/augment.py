"""Augmentation of whole batches; every draw comes from the generator passed in."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kws.config import SAMPLE_RATE

EQUALISER_POINTS = 8  # on the mel scale: slopes and broad resonances, no notches
SLOPE = 100.0  # Hz in which a band's end falls to about a quarter
SPEC_WIDTHS = {1.0: 0, 1.5: 1, 2.0: 3, 3.0: 5, 6.0: 7, 8.0: 7}  # bands masked, by tau (paper)
SNR = (10.0, 40.0)  # dB
STREAM_SNR = (0.0, 40.0)  # dB, for a causal network, which hears words in a stream


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How far training sound strays from the recordings."""

    shift: int = SAMPLE_RATE // 10  # samples, either way
    speed: float = 0.15  # rate and pitch together, either way, as if another person spoke
    gain: tuple[float, float] = (-24.0, 6.0)  # dB; people and microphones differ by as much
    apart: float = 4.0  # dB, either way, between words that are heard one after another
    equaliser: float = 9.0  # dB, either way, as if through another microphone or room
    narrow: float = 0.0  # share of the words that come as if through a telephone
    band: tuple[float, float] = (3_300.0, 4_000.0)  # Hz, where these end
    probability: float = 0.8  # of shift and noise together, as in the BC-ResNet paper
    snr: tuple[float, float] = SNR  # dB
    suppression: float = 0.5  # share of the rows in which noise is suppressed, decision 7
    suppressed: tuple[float, float] = (1.0, 10.0)  # times the noise floor, what is taken away
    mask_bands: int = 3  # widest frequency mask
    mask_frames: int = 5  # widest time mask; the paper has 20 for 200 epochs
    masks: int = 2  # of either kind; 0 for none


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Uniform draws in ``[low, high)``."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def crop_at_speed(waves: Tensor, starts: Tensor, speeds: Tensor, length: int) -> Tensor:
    """Cut ``length`` samples from each row, played faster or slower about its middle.

    Shape:
        waves ``[B, N]``, starts and speeds ``[B]`` -> ``[B, length]``; between two samples a
        line, and beyond the row its last sample.

    >>> crop_at_speed(torch.arange(8.0)[None], torch.tensor([2]), torch.tensor([0.5]), 4)
    tensor([[3.0000, 3.5000, 4.0000, 4.5000]])
    """
    last = waves.shape[1] - 1
    first = starts + (1 - speeds) * length / 2
    at = first[:, None] + speeds[:, None] * torch.arange(length)  # [B, length], in samples
    grid = torch.stack([at * (2 / last) - 1, torch.zeros_like(at)], dim=-1)[:, None]
    rows = waves.float()[:, None, None]  # an image of one line, which torch reads between pixels
    return functional.grid_sample(rows, grid, padding_mode="border", align_corners=True)[:, 0, 0]


def draw_noise(noise: Tensor, batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Random stretches of one long recording: ``[M] -> [batch, length]``."""
    starts = torch.randint(len(noise) - length + 1, (batch,), generator=generator)
    return noise.unfold(0, length, 1)[starts]


def rms(waves: Tensor) -> Tensor:
    """Root mean square of each row: ``[B, N] -> [B, 1]``."""
    return waves.square().mean(dim=-1, keepdim=True).sqrt()


def equalise(waves: Tensor, gains: Tensor) -> Tensor:
    """Filter each row by gains at evenly spaced points of the mel scale, straight lines between.

    Shape:
        waves ``[B, N]``, gains ``[B, P]`` in dB from 0 Hz to half the sample rate -> ``[B, N]``

    >>> wave = torch.randn((1, 160), generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(equalise(wave, torch.full((1, 4), 20.0)), 10 * wave, atol=1e-4)
    True
    """
    length, last = waves.shape[1], gains.shape[1] - 1
    hertz = torch.linspace(0, SAMPLE_RATE / 2, length // 2 + 1)
    at = torch.log1p(hertz / 700) / math.log1p(SAMPLE_RATE / 2 / 700) * last  # in points
    left = at.floor().long().clamp(max=last - 1)
    curve = torch.lerp(gains[:, left], gains[:, left + 1], at - left)  # [B, N / 2 + 1] dB
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(waves) * 10 ** (curve / 20), length)
    return filtered


def narrow(waves: Tensor, ends: Tensor) -> Tensor:
    """Take away what lies above a frequency in Hz, falling off within some hundred Hz.

    Shape:
        waves ``[B, N]``, ends ``[B, 1]`` -> ``[B, N]``

    >>> turns = torch.tensor([[500.0], [6_000.0]]) / SAMPLE_RATE * torch.arange(160)
    >>> tones = torch.sin(2 * math.pi * turns)
    >>> [round(level.item(), 2) for level in rms(narrow(tones, torch.full((2, 1), 3_500.0)))]
    [0.71, 0.0]
    """
    length = waves.shape[1]
    hertz = torch.linspace(0, SAMPLE_RATE / 2, length // 2 + 1)
    kept = torch.sigmoid((ends - hertz) / SLOPE)
    narrowed: Tensor = torch.fft.irfft(torch.fft.rfft(waves) * kept, length)
    return narrowed


def draw_suppression(count: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """How many times their noise floor rows lose: ``[count]``, zero where nothing is taken."""
    times = uniform((count,), *config.suppressed, generator)
    return times * (torch.rand(count, generator=generator) < config.suppression)


def add_noise(waves: Tensor, noise: Tensor, snr: Tensor) -> Tensor:
    """Mix at a signal-to-noise ratio in dB: ``[B, N], [B, N], [B, 1] -> [B, N]``."""
    level = rms(waves) / rms(noise).clamp_min(1e-6) * 10 ** (-snr / 20)
    return waves + level * noise


def mask_features(features: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """SpecAugment without warping: masked bands and frames become silence, ``[B, F, T]``.

    Park et al., https://arxiv.org/abs/1904.08779.
    """
    batch, bands, frames = features.shape
    for _ in range(config.masks):
        for size, widest, axis in ((bands, config.mask_bands, 1), (frames, config.mask_frames, 2)):
            width = torch.randint(widest + 1, (batch, 1), generator=generator)
            start = (torch.rand((batch, 1), generator=generator) * (size - width + 1)).long()
            place = torch.arange(size)
            masked = (place >= start) & (place < start + width)  # [B, size]
            features = features.masked_fill(masked.unsqueeze(3 - axis).to(features.device), 0.0)
    return features
