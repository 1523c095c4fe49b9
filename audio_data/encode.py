"""Sound as the bytes of a file."""

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE


def encode(wave: NDArray[np.float32], kind: str = "wav") -> bytes:
    """A file of 16 bits, mono, 16 kHz, of a wave ``[T]``.

    Who writes these bytes hears of a full disk; libraries that write files themselves hide it.

    >>> encode(np.zeros(8, np.float32))[:4], encode(np.zeros(8, np.float32), "flac")[:4]
    (b'RIFF', b'fLaC')
    """
    memory = io.BytesIO()
    soundfile.write(memory, wave, SAMPLE_RATE, format=kind.upper(), subtype="PCM_16")
    return memory.getvalue()
