"""BC-ResNet: keyword spotting by broadcasted residual learning.

Kim, Chang, Lee, Sung, "Broadcasted Residual Learning for Efficient Keyword Spotting",
Interspeech 2021, https://arxiv.org/abs/2106.04140. Written from the paper.
"""

from torch import Tensor, nn

TAUS = (1.0, 1.5, 2.0, 3.0, 6.0, 8.0)  # the widths of the paper
BLOCKS = (2, 2, 4, 4)  # blocks of the four stages
STRIDES = (1, 2, 2, 1)  # over frequency, at the first block of each stage
BANDS = 5  # sub-bands of sub-spectral normalisation
MELS = 40  # F, mel bands the network is built for


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

    Shape:
        ``[B, C, F, T] -> [B, O, F / stride, T]``
    """

    def __init__(
        self, channels: int, out: int, *, stride: int, dilation: int, dropout: float
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
        self.time = nn.Conv2d(
            out, out, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=out, bias=False
        )
        self.norm = nn.BatchNorm2d(out)
        self.point = nn.Conv2d(out, out, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.widen is None else None
        if self.widen is not None:
            x = self.widen(x)
        wide: Tensor = self.subnorm(self.frequency(x))  # f2: [B, O, F / stride, T]
        narrow = wide.mean(dim=2, keepdim=True)  # [B, O, 1, T]
        narrow = self.point(nn.functional.silu(self.norm(self.time(narrow))))  # f1
        y = wide + self.dropout(narrow)
        return nn.functional.relu(y if shortcut is None else y + shortcut)


class BCResNet(nn.Module):
    """The whole network: log-mel features to class scores.

    Args:
        classes: K, outputs of the head.
        tau: width multiplier, one of ``TAUS``.
        dropout: share of channels dropped inside a block while training.

    Shape:
        features ``[B, F, T]`` (F = 40) -> logits ``[B, K]``

    >>> for tau in TAUS:
    ...     print(tau, sum(p.numel() for p in BCResNet(12, tau).parameters()))
    1.0 9232
    1.5 17154
    2.0 27284
    3.0 54168
    6.0 187812
    8.0 321068

    """

    def __init__(self, classes: int, tau: float = 1.0, dropout: float = 0.1) -> None:
        super().__init__()
        base = 8 * tau
        stem, *stages, last = (int(base * factor) for factor in (2, 1, 1.5, 2, 2.5, 4))
        self.width = last
        self.stem = nn.Sequential(
            nn.Conv2d(1, stem, 5, stride=(2, 1), padding=2, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        channels = stem
        for index, (out, count, stride) in enumerate(zip(stages, BLOCKS, STRIDES, strict=True)):
            for step in range(count):
                blocks.append(
                    BroadcastedBlock(
                        channels,
                        out,
                        stride=stride if step == 0 else 1,
                        dilation=2**index,
                        dropout=dropout,
                    )
                )
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.neck = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=(0, 2), groups=channels, bias=False),
            nn.Conv2d(channels, last, 1, bias=False),
            nn.BatchNorm2d(last),
            nn.ReLU(),
        )
        self.head = nn.Linear(last, classes)

    def embed(self, features: Tensor) -> Tensor:
        """``[B, F, T] -> [B, D]``: all but the head; D is ``width``."""
        x: Tensor = self.stem(features.unsqueeze(1))  # [B, C, F / 2, T]
        x = self.neck(self.blocks(x))  # [B, D, 1, T]
        return x.mean(dim=(2, 3))

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embed(features))
        return logits
