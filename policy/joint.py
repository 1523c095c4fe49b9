"""One network for several languages that are all known at once: what adding them later forgoes.

Everything learns, from batches of each language in turn, and one head tells the words of all
apart. A language's adapter holds the changes that all of them share, and its own rows of the head.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from kws.config import SEED_STEP
from kws.deltas import Adaptation
from kws.train import EpochBatches


class Together:
    """Batches of several languages in a drawn order; the classes of each follow those before.

    Args:
        languages: batches of each; an epoch holds one epoch of every language.
        classes: of each.
        seed: of the order, which is another one in every epoch.

    """

    def __init__(
        self, languages: Sequence[EpochBatches], classes: Sequence[int], *, seed: int = 0
    ) -> None:
        self.languages, self.seed = tuple(languages), seed
        self.begins = [sum(classes[:number]) for number in range(len(classes))]

    def __len__(self) -> int:
        return sum(map(len, self.languages))

    def epoch(self, index: int) -> Iterator[tuple[Any, ...]]:
        """Batches of the languages, the labels of each counted on from where its classes begin."""
        turns = torch.cat([torch.full((len(b),), n) for n, b in enumerate(self.languages)])
        generator = torch.Generator().manual_seed(self.seed * SEED_STEP + index)
        order = turns[torch.randperm(len(turns), generator=generator)]
        running = [batches.epoch(index) for batches in self.languages]
        for number in order.tolist():
            features, labels, *ends = next(running[number])
            yield (features, labels + self.begins[number], *ends)


def first_classes(trained: Adaptation, classes: int) -> Adaptation:
    """The same language of fewer classes, the head's first."""
    found = Adaptation(trained.network, classes, trained.chosen)
    with torch.no_grad():
        found.relative.copy_(trained.relative)
        for mine, theirs in zip(found.head.parameters(), trained.head.parameters(), strict=True):
            mine.copy_(theirs[:classes])
    return found.to(trained.relative.device)
