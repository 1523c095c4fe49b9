"""What batches are made of is known by a digest."""

from dataclasses import replace

import numpy as np
import torch

from audio_data.augment import AugmentConfig
from audio_data.batches import CachedBatches, TrainingBatches, Views
from kws.config import FeatureConfig

FEATURES = FeatureConfig()


def test_a_digest_tells_all_that_is_heard() -> None:
    """Recordings and noise; not what a generator draws."""
    first = Views.build(np.ones((4, FEATURES.view), np.int16), [0, 1, 2, 3], 0, 0)
    changed = first.waves.clone()
    changed[3, 17] += 1
    noise, config = torch.ones(3 * FEATURES.view), AugmentConfig()
    trainings = [
        TrainingBatches(first, noise, FEATURES, config),
        TrainingBatches(first, noise, FEATURES, config, seed=1),
        TrainingBatches(first, 2 * noise, FEATURES, config),
        TrainingBatches(replace(first, waves=changed), noise, FEATURES, config),
    ]
    digests = [training.digest for training in trainings]
    assert digests[0] == digests[1] == CachedBatches(trainings[0]).digest
    assert len(set(digests)) == 3
