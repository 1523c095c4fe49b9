"""Log-mel features for training: a batch of waveforms to what the network hears.

The runtime's twin without torch is :mod:`audio_data.logmel`; tests hold the two, and librosa,
equal within ``TOLERANCE``.
"""

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from kws.config import FeatureConfig

TOLERANCE = 1e-3  # absolute, on features of about unit variance; float32 spectra differ in order


class LogMel(nn.Module):
    """y = scale * log(1 + mel / floor): zero in digital silence, so that zero padding is silence.

    Shape:
        waves ``[B, N]`` in [-1, 1] -> ``[B, F, T]``, ``T = 1 + (N - window) // hop``; if given,
        ``suppressed`` ``[B]`` is the share of each row's highest power that all its bands lose,
        as where a device suppresses noise.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(
            sample_rate=config.sample_rate,
            n_fft=config.window,
            win_length=config.window,
            hop_length=config.hop,
            f_min=config.low,
            f_max=config.high,
            n_mels=config.mels,
            power=2.0,
            center=False,
            mel_scale="htk",
            norm=None,
        )

    def forward(self, waves: Tensor, suppressed: Tensor | None = None) -> Tensor:
        mel: Tensor = self.mel(waves)  # [B, F, T]
        if suppressed is not None:
            mel = torch.relu(mel - mel.amax((1, 2), keepdim=True) * suppressed[:, None, None])
        return (mel / self.config.floor).log1p() * self.config.scale
