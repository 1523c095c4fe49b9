"""A network's weights as listening needs them: NumPy only, every normalisation folded away.

In evaluation a normalisation is a scale and a shift. Those after a convolution become part of its
weights; that of a sub-band becomes one filter for each channel and band.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kws.base import BaseConfig
from kws.errors import KwsError
from kws.files import Arrays

from .layout import ARCHITECTURE, BANDS, BLOCKS, MELS, REACH, SCHEDULE

Array = NDArray[np.float32]

EPSILON: Final = 1e-5  # of every normalisation, PyTorch's default
ROWS: Final = MELS // 2  # bands after the stem
RUNNING: Final = "running_"  # statistics
COUNTED: Final = "num_batches_tracked"  # of no use here
DEVIATION: Final = "deviation"  # root of variance and EPSILON, where it is known already


LAYERS: Final = (
    "stem.0",
    "stem.1",
    *(
        f"blocks.{block}.{layer}"
        for block in range(sum(BLOCKS))
        for layer in ("widen.0", "widen.1", "frequency", "subnorm.norm", "time", "norm", "point")
    ),
    "neck.0",
    "neck.1",
    "neck.2",
)


@dataclass(frozen=True)
class Block:
    """One broadcasted block; O channels out."""

    stride: int
    dilation: int
    widen: tuple[Array, Array] | None  # [O, C], [O]
    frequency: tuple[Array, Array, Array]  # [O, 3]; scale and shift [O, bands]
    time: tuple[Array, Array]  # [O, 3], [O]
    point: Array  # [O, O]

    @property
    def channels(self) -> int:
        """What comes in."""
        return self.widen[0].shape[1] if self.widen else len(self.point)

    @property
    def reach(self) -> int:
        """Frames besides one that the convolution over time sees."""
        return 2 * self.dilation


@dataclass(frozen=True)
class Folded:
    """The whole network; D is its width."""

    causal: bool
    span: int  # frames of one decision's mean
    stem: tuple[Array, Array]  # [C, 5, 5], [C]
    blocks: tuple[Block, ...]
    neck: Array  # [C, 5, 5]
    last: tuple[Array, Array]  # [D, C], [D]
    head: tuple[Array, Array]  # [K, D], [K]

    @property
    def history(self) -> int:
        """Frames that a decision depends on; of a network that is not causal those of one view."""
        before = REACH + sum(block.reach for block in self.blocks) + REACH
        return self.span + before if self.causal else self.span


def fold(config: BaseConfig, tensors: Arrays) -> Folded:
    """The network of a base's configuration with these tensors, named as in its file.

    Raises:
        KwsError: tensors are missing or of another shape, or it hears other bands.

    """
    if config.architecture != ARCHITECTURE:
        raise KwsError(f"the runtime knows {ARCHITECTURE}, not {config.architecture}")
    if config.features.mels != MELS:
        raise KwsError(f"{ARCHITECTURE} hears {MELS} bands, not {config.features.mels}")
    try:
        _check(tensors)
        return fold_unchecked(config, tensors)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise KwsError(
            f"the weights are not those of {config.architecture} of width {config.tau:g} "
            f"({error}); pretrain or copy the base again"
        ) from error


def state_shapes(network: Folded) -> list[tuple[int, ...]]:
    """What a causal graph remembers of every convolution over time, and of the mean."""
    inner = [(1, len(block.point), 1, block.reach) for block in network.blocks]
    deep = (1, len(network.neck), network.neck.shape[1], REACH)
    return [(1, 1, MELS, REACH), *inner, deep, (1, network.head[0].shape[1], network.span - 1)]


def weight_names(tensors: Arrays) -> tuple[str, ...]:
    """Names of all weights but the head's, layer after layer, as a vector holds them."""
    named = (f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias"))
    return tuple(name for name in named if name in tensors)


def packed_statistics(tensors: Arrays) -> Array:
    """Each normalisation's means, and one over its deviations, in the same order."""
    found = [np.zeros(0, np.float64)]
    for layer in LAYERS:
        if f"{layer}.running_mean" in tensors:
            variance = tensors[f"{layer}.running_var"].astype(np.float64)
            found += [tensors[f"{layer}.running_mean"], 1 / np.sqrt(variance + EPSILON)]
    return _single(np.concatenate(found))


def with_deviations(tensors: Arrays) -> dict[str, NDArray[np.float64]]:
    """What of the tensors is the same in every language, with all that follows from it alone."""
    found = {name: array.astype(np.float64) for name, array in tensors.items() if RUNNING in name}
    for name in [name for name in found if name.endswith(f"{RUNNING}var")]:
        layer = name.removesuffix(f".{RUNNING}var")
        found[f"{layer}.{DEVIATION}"] = np.sqrt(found[name] + EPSILON)
    return found


def graph_weights(network: Folded) -> Arrays:
    """The weights by name, in the shapes that a graph's convolutions take."""
    found = {
        "stem.w": network.stem[0][:, None],
        "stem.b": network.stem[1],
        "neck.w": network.neck[:, None],
        "last.w": network.last[0][:, :, None, None],
        "last.b": network.last[1],
        "head.w": network.head[0],
        "head.b": network.head[1],
    }
    rows = ROWS
    for index, block in enumerate(network.blocks):
        name = f"block{index}"
        if block.widen:
            found[f"{name}.widen.w"] = block.widen[0][:, :, None, None]
            found[f"{name}.widen.b"] = block.widen[1]
        rows //= block.stride
        taps, scale, shift = block.frequency
        found[f"{name}.frequency.w"] = taps[:, None, :, None]
        found[f"{name}.frequency.scale"] = np.repeat(scale, rows // BANDS, axis=1)[None, :, :, None]
        found[f"{name}.frequency.b"] = np.repeat(shift, rows // BANDS, axis=1)[None, :, :, None]
        found[f"{name}.time.w"] = block.time[0][:, None, None]
        found[f"{name}.time.b"] = block.time[1]
        found[f"{name}.point"] = block.point[:, :, None, None]
    return found


def tensor_shapes(
    stem: int, blocks: Sequence[int], last: int, classes: int
) -> dict[str, tuple[int, ...]]:
    """All tensors of a network by its widths: the stem's, each block's, D and K."""
    found: dict[str, tuple[int, ...]] = {"stem.0.weight": (stem, 1, 5, 5), **_norms("stem.1", stem)}
    channels = stem
    for index, out in enumerate(blocks):
        name = f"blocks.{index}"
        if channels != out:
            found[f"{name}.widen.0.weight"] = (out, channels, 1, 1)
            found |= _norms(f"{name}.widen.1", out)
        found[f"{name}.frequency.weight"] = (out, 1, 3, 1)
        found |= _norms(f"{name}.subnorm.norm", out * BANDS)
        found[f"{name}.time.weight"] = (out, 1, 1, 3)
        found |= _norms(f"{name}.norm", out)
        found[f"{name}.point.weight"] = (out, out, 1, 1)
        channels = out
    found["neck.0.weight"] = (channels, 1, 5, 5)
    found |= {"neck.1.weight": (last, channels, 1, 1), **_norms("neck.2", last)}
    return found | {"head.weight": (classes, last), "head.bias": (classes,)}


def _norms(name: str, size: int) -> dict[str, tuple[int, ...]]:
    kinds = "weight", "bias", f"{RUNNING}mean", f"{RUNNING}var"
    return {f"{name}.{kind}": (size,) for kind in kinds}


def _check(tensors: Arrays) -> None:
    """Raise a ValueError where tensors do not belong to one network, or a variance is none."""
    points = [len(tensors[f"blocks.{index}.point.weight"]) for index in range(sum(BLOCKS))]
    ends = (len(tensors[name]) for name in ("neck.1.weight", "head.bias"))
    channels = [len(tensors["stem.0.weight"]), *points]
    for index, (stride, _) in enumerate(SCHEDULE):
        if stride != 1 and channels[index] == channels[index + 1]:
            raise ValueError(f"blocks.{index} halves its rows and keeps its channels")
    wanted = tensor_shapes(channels[0], points, *ends)
    for name, array in tensors.items():
        if name.endswith(COUNTED):
            continue
        if array.shape != wanted.get(name):
            raise ValueError(f"{name} of shape {list(array.shape)} is none of its weights")
        if name.endswith(f"{RUNNING}var") and (array < 0).any():
            raise ValueError(f"{name} has negative numbers")


def fold_unchecked(config: BaseConfig, tensors: Arrays) -> Folded:
    """:func:`fold` without its checks, so that a change of language does not repeat them.

    Args:
        config: of a base that :func:`fold` accepted.
        tensors: of the shapes that it accepted; deviations among them are not computed again.

    """
    exact = {name: np.asarray(array, np.float64) for name, array in tensors.items()}
    blocks = tuple(_block(exact, f"blocks.{n}", *each) for n, each in enumerate(SCHEDULE))
    scale, shift = _norm(exact, "stem.1")
    stem = _single(exact["stem.0.weight"][:, 0] * scale[:, None, None]), _single(shift)
    scale, shift = _norm(exact, "neck.2")
    last = _single(exact["neck.1.weight"][:, :, 0, 0] * scale[:, None]), _single(shift)
    neck = _single(exact["neck.0.weight"][:, 0])
    head = _single(exact["head.weight"]), _single(exact["head.bias"])
    return Folded(config.causal, config.averaged, stem, blocks, neck, last, head)


def _block(exact: dict[str, NDArray[np.float64]], name: str, stride: int, dilation: int) -> Block:
    widen = None
    if f"{name}.widen.0.weight" in exact:
        scale, shift = _norm(exact, f"{name}.widen.1")
        widen = (
            _single(exact[f"{name}.widen.0.weight"][:, :, 0, 0] * scale[:, None]),
            _single(shift),
        )
    scale, shift = (x.reshape(-1, BANDS) for x in _norm(exact, f"{name}.subnorm.norm"))
    taps = exact[f"{name}.frequency.weight"].reshape(-1, 3)
    frequency = _single(taps), _single(scale), _single(shift)
    scale, shift = _norm(exact, f"{name}.norm")
    time = _single(exact[f"{name}.time.weight"].reshape(-1, 3) * scale[:, None]), _single(shift)
    point = _single(exact[f"{name}.point.weight"][:, :, 0, 0])
    return Block(stride, dilation, widen, frequency, time, point)


def _norm(
    exact: dict[str, NDArray[np.float64]], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and shift."""
    known = exact.get(f"{name}.{DEVIATION}")
    deviation = np.sqrt(exact[f"{name}.running_var"] + EPSILON) if known is None else known
    scale = exact[f"{name}.weight"] / deviation
    return scale, exact[f"{name}.bias"] - exact[f"{name}.running_mean"] * scale


def _single(array: NDArray[np.float64]) -> Array:
    return np.ascontiguousarray(array, np.float32)
