"""BC-ResNet: keyword spotting by broadcasted residual learning.

Kim, Chang, Lee, Sung, "Broadcasted Residual Learning for Efficient Keyword Spotting",
Interspeech 2021, https://arxiv.org/abs/2106.04140. Written from the paper; the causal form, which
sees nothing that comes later, is ours. :mod:`models.streaming` runs it on a stream, as a
reference for the code that listens (:mod:`models.compiled`).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from kws.config import FeatureConfig
from kws.errors import KwsError

from . import gradient
from .compiled import Shape
from .layout import BANDS, BLOCKS, SCHEDULE

VIEW_FRAMES = FeatureConfig().frames  # of one view; bases made before decision 13 average these


class TimeConv(nn.Conv2d):
    """A convolution over frequency and time ``[B, C, F, T]``, without bias.

    One that is not causal pads time on both sides. One that is causal pads no time: its caller
    puts the ``past`` frames before the first, zeros or what came before.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: tuple[int, int],
        *,
        causal: bool,
        padding: int = 0,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        self.reach = (kernel[1] - 1) * dilation  # frames it sees besides one
        self.past = self.reach if causal else 0
        super().__init__(
            channels,
            out,
            kernel,
            stride=(stride, 1),
            padding=(padding, 0 if causal else self.reach // 2),
            dilation=(1, dilation),
            groups=groups,
            bias=False,
        )


OverTime = Callable[[TimeConv, Tensor], Tensor]


def from_zeros(conv: TimeConv, x: Tensor) -> Tensor:
    """``[B, C, F, T] -> [B, O, F', T]``: the convolution where nothing came before the first."""
    y: Tensor = conv(nn.functional.pad(x, (conv.past, 0)) if conv.past else x)
    return y


class TimeFirst(nn.Sequential):
    """Layers in a row, the first of which is a :class:`TimeConv`."""

    def forward(self, x: Tensor, over_time: OverTime = from_zeros) -> Tensor:
        first, *others = self
        assert isinstance(first, TimeConv)
        x = over_time(first, x)
        for layer in others:
            x = layer(x)
        return x


class SubSpectralNorm(nn.Module):
    """Batch normalisation with its own statistics, scale and shift per frequency sub-band.

    Chang et al., https://arxiv.org/abs/2103.13620.

    Shape:
        ``[B, C, F, T] -> [B, C, F, T]``, F divisible by the number of bands.
    """

    def __init__(self, channels: int, bands: int = BANDS) -> None:
        super().__init__()
        self.bands = bands
        self.norm = nn.BatchNorm2d(channels * bands)

    def forward(self, x: Tensor) -> Tensor:
        b, c, f, t = x.shape
        y: Tensor = self.norm(x.reshape(b, c * self.bands, f // self.bands, t))
        return y.reshape(b, c, f, t)


class BroadcastedBlock(nn.Module):
    """y = relu(x + f2(x) + broadcast(f1(mean over frequency of f2(x)))), eq. 1 to 3.

    f2 is a depthwise convolution over frequency and sub-spectral normalisation; f1 a dilated
    depthwise convolution over time, normalisation, SiLU and a pointwise convolution. A block
    that changes the width begins with a pointwise convolution and has no identity shortcut.
    ``over_time`` says how the convolution over time is given what came before.

    Shape:
        ``[B, C, F, T] -> [B, O, F / stride, T]``
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        stride: int,
        dilation: int,
        dropout: float,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.widen: nn.Module | None = None
        if channels != out:
            self.widen = nn.Sequential(
                nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
            )
        self.frequency = nn.Conv2d(
            out, out, (3, 1), stride=(stride, 1), padding=(1, 0), groups=out, bias=False
        )
        self.subnorm = SubSpectralNorm(out)
        self.time = TimeConv(out, out, (1, 3), causal=causal, dilation=dilation, groups=out)
        self.norm = nn.BatchNorm2d(out)
        self.point = nn.Conv2d(out, out, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor, over_time: OverTime = from_zeros) -> Tensor:
        shortcut = x if self.widen is None else None
        if self.widen is not None:
            x = self.widen(x)
        wide: Tensor = self.subnorm(self.frequency(x))  # f2: [B, O, F / stride, T]
        narrow = wide.mean(dim=2, keepdim=True)  # [B, O, 1, T]
        narrow = self.norm(over_time(self.time, narrow))
        narrow = self.point(nn.functional.silu(narrow))  # f1
        y = wide + self.dropout(narrow)
        return nn.functional.relu(y if shortcut is None else y + shortcut)


class BCResNet(nn.Module):
    """The whole network: log-mel features to class scores.

    A causal network has the same parameters, but no convolution looks ahead, and the mean over
    time is that of the last ``span`` frames, so that a stream has a decision at every frame, and
    it is the one that training sees at the end of a clip. Before a clip's first frame there are
    zeros in every layer, which no sound gives: clips of ``history`` frames or more end in exactly
    the decision of a stream, shorter ones know less of what came before.

    Args:
        classes: K, outputs of the head.
        tau: width multiplier, one of :data:`models.layout.TAUS`.
        dropout: share of channels dropped inside a block while training; the paper drops 0.1
            in 200 epochs, in a tenth of them that costs more than it gives.
        causal: whether a frame's output depends on no later frame.
        span: frames that a causal decision averages, those of one view; the others average all.

    Shape:
        features ``[B, F, T]`` (F = 40) -> logits ``[B, K]``, in a causal network of the last frame;
        if ``ends`` names E frames, a causal network decides at each: ``[B * E, K]``

    >>> from .layout import TAUS
    >>> for tau in TAUS:
    ...     print(tau, sum(p.numel() for p in BCResNet(12, tau).parameters()))
    1.0 9232
    1.5 17154
    2.0 27284
    3.0 54168
    6.0 187812
    8.0 321068
    >>> network = BCResNet(12, causal=True)
    >>> network.receptive_field, network.span, network.history
    (117, 98, 214)

    """

    def __init__(
        self,
        classes: int,
        tau: float = 1.0,
        dropout: float = 0.0,
        *,
        causal: bool = False,
        span: int = VIEW_FRAMES,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.span = span
        base = 8 * tau
        stem, *stages, last = (int(base * factor) for factor in (2, 1, 1.5, 2, 2.5, 4))
        self.width = last
        self.stem = TimeFirst(
            TimeConv(1, stem, (5, 5), causal=causal, padding=2, stride=2),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
        )
        outs = [out for out, count in zip(stages, BLOCKS, strict=True) for _ in range(count)]
        ins = [stem, *outs[:-1]]
        sizes = [(c, o, *each) for c, o, each in zip(ins, outs, SCHEDULE, strict=True)]
        self.blocks = nn.ModuleList(
            BroadcastedBlock(c, o, stride=s, dilation=d, dropout=dropout, causal=causal)
            for c, o, s, d in sizes
        )
        channels = outs[-1]
        self.neck = TimeFirst(
            TimeConv(channels, channels, (5, 5), causal=causal, groups=channels),
            nn.Conv2d(channels, last, 1, bias=False),
            nn.BatchNorm2d(last),
            nn.ReLU(),
        )
        self.head = nn.Linear(last, classes)
        self.shape = Shape(causal, span, stem, last, classes, tuple(sizes))

    @property
    def receptive_field(self) -> int:
        """Frames that one frame before the mean sees, itself included."""
        return 1 + sum(m.reach for m in self.modules() if isinstance(m, TimeConv))

    @property
    def history(self) -> int:
        """Frames that a decision depends on, the newest included: one view, if not causal."""
        return self.receptive_field + self.span - 1 if self.causal else self.span

    def trunk(self, features: Tensor, over_time: OverTime = from_zeros) -> Tensor:
        """``[B, F, T] -> [B, D, T]``: all before the mean over time; D is ``width``.

        While a language learns (evaluation mode, gradients wanted, on the CPU), compiled code
        computes it, if there is some (:func:`models.gradient.can_learn`): layers are not called
        then, so forward hooks do not fire.
        """
        if over_time is from_zeros and gradient.can_learn(self, features):
            return gradient.trunk(self, features)
        x: Tensor = self.stem(features.unsqueeze(1), over_time)  # [B, C, F / 2, T]
        for block in self.blocks:
            x = block(x, over_time)
        x = self.neck(x, over_time)  # [B, D, 1, T]
        return x.squeeze(2)

    def embed(self, features: Tensor) -> Tensor:
        """``[B, F, T] -> [B, D]``: all but the head."""
        x = self.trunk(features)
        # A frame before the first counts as zeros, here and in `decide`.
        return x[..., -self.span :].sum(dim=2) / self.span if self.causal else x.mean(dim=2)

    def decide(self, x: Tensor) -> Tensor:
        """``[B, D, span - 1 + T] -> [B, T, K]``: the head on the mean of each ``span`` frames."""
        means = nn.functional.avg_pool1d(x, self.span, stride=1)  # [B, D, T]
        logits: Tensor = self.head(means.transpose(1, 2))
        return logits

    def frames(self, features: Tensor) -> Tensor:
        """``[B, F, T] -> [B, T, K]``: the decision at every frame of a clip, the last as forward's.

        Raises:
            KwsError: the network is not causal; it has one decision for all frames.

        """
        if not self.causal:
            raise KwsError("a network that is not causal decides once a view, not at every frame")
        return self.decide(nn.functional.pad(self.trunk(features), (self.span - 1, 0)))

    def forward(self, features: Tensor, ends: Sequence[int] | None = None) -> Tensor:
        if ends is None:
            means = self.embed(features)
        else:
            x = self.trunk(features)
            spans = [x[..., max(0, end + 1 - self.span) : end + 1] for end in ends]
            means = torch.stack([span.sum(dim=2) / self.span for span in spans], 1).flatten(0, 1)
        logits: Tensor = self.head(means)
        return logits
