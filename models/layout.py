"""BC-ResNet's fixed sizes, which training, listening and export share; no torch is needed for them.

Kim, Chang, Lee, Sung, "Broadcasted Residual Learning for Efficient Keyword Spotting",
Interspeech 2021, https://arxiv.org/abs/2106.04140, table 1.
"""

from typing import Final

ARCHITECTURE: Final = "bcresnet"  # as bases name it
TAUS: Final = (1.0, 1.5, 2.0, 3.0, 6.0, 8.0)  # the widths of the paper
BLOCKS: Final = (2, 2, 4, 4)  # blocks of the four stages
STRIDES: Final = (1, 2, 2, 1)  # over frequency, at the first block of each stage
SCHEDULE: Final = tuple(  # of each block: stride over frequency, dilation over time
    (stride if step == 0 else 1, 2**stage)
    for stage, (count, stride) in enumerate(zip(BLOCKS, STRIDES, strict=True))
    for step in range(count)
)
REACH: Final = 4  # frames besides one that the 5 x 5 convolutions of stem and neck see
MELS: Final = 40  # F, mel bands the network is built for
BANDS: Final = 5  # sub-bands of sub-spectral normalisation
