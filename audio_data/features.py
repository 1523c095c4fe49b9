"""Log-mel features for training: a batch of waveforms to what the network hears.

The runtime's twin without torch is :mod:`audio_data.logmel`; tests hold the two, and librosa,
equal within ``TOLERANCE``.
"""

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from kws.config import FeatureConfig

NOISE_SHARE = 0.2  # share of frames that are taken to be a band's noise alone
# Absolute, on features of about unit variance: float32 spectra differ in order. By compiled code a
# pure tone of full scale is off by up to 1.3e-3, in bands near the floor.
TOLERANCE = 1e-3


class LogMel(nn.Module):
    """y = scale * log(1 + mel / floor): zero in digital silence, so that zero padding is silence.

    Shape:
        waves ``[B, N]`` in [-1, 1] -> ``[B, F, T]``, ``T = 1 + (N - window) // hop``; if given,
        ``suppressed`` ``[B]`` is how many times its noise floor each band of a row loses, as
        where a device suppresses noise by spectral subtraction (Boll, 1979,
        https://doi.org/10.1109/TASSP.1979.1163209).
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
            floor = mel.kthvalue(
                1 + int(NOISE_SHARE * (mel.shape[2] - 1)), dim=2, keepdim=True
            ).values
            mel = torch.relu(mel - floor * suppressed[:, None, None])
        return (mel / self.config.floor).log1p() * self.config.scale
