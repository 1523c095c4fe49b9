"""The base on disk: a folder with a configuration, the weights and a card."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .config import HEAD, FeatureConfig, Where
from .detector import DetectorConfig
from .errors import KwsError
from .files import Arrays, read_json, read_tensors, sha256, write_json, write_tensors
from .names import check_names, check_shown
from .typed import checked, naming, refuse_format

if TYPE_CHECKING:
    from torch import nn

BASE_CONFIG: Final = "base_config.json"
BASE_MODEL: Final = "base_model.safetensors"
FORMAT: Final = 1
NARROWEST, WIDEST = 2, 4_096  # frames that a causal decision averages


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    """What a base is and how it came to be."""

    architecture: str
    tau: float
    language: str
    labels: tuple[str, ...]
    causal: bool = False  # hears no later frame, and so runs on a stream
    span: int | None = None  # frames that a causal decision averages; None: those of one view
    features: FeatureConfig = field(default_factory=FeatureConfig)
    sha256: str = ""  # of the weights' file; adapters name it
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    # Who was in which split: all who speak the language, and of others those whom no corpus splits.
    people: dict[str, Where] = field(default_factory=dict)
    licences: tuple[str, ...] = ()
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Refuse what no decision could average."""
        if self.span is None:
            return
        if not self.causal:
            raise KwsError("a base that is not causal averages its whole view; give it no span")
        if not NARROWEST <= self.span <= WIDEST:
            raise KwsError(f"a decision averages {NARROWEST} to {WIDEST} frames, not {self.span}")

    @property
    def averaged(self) -> int:
        """Frames over whose mean a decision is taken."""
        return self.features.frames if self.span is None else self.span


Build = Callable[[BaseConfig], "nn.Module"]


@dataclass(frozen=True)
class Base:
    """A pretrained network in evaluation mode; nothing writes to it."""

    config: BaseConfig
    network: "nn.Module"


def tensors_of(network: "nn.Module") -> Arrays:
    """A network's tensors by name, as they are stored."""
    return {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}


def save_base(folder: Path, config: BaseConfig, network: "nn.Module") -> BaseConfig:
    """Write weights first, then the configuration that names their digest."""
    write_tensors(folder / BASE_MODEL, tensors_of(network))
    digest = sha256(folder / BASE_MODEL)
    config = replace(config, sha256=digest)
    save_base_config(folder, config)
    return config


def save_base_config(folder: Path, config: BaseConfig) -> None:
    """Replace the configuration alone, in one step; weights and digest stay as they are."""
    write_json(folder / BASE_CONFIG, asdict(config))


def read_base_config(folder: str | Path) -> BaseConfig:
    """The configuration of the base in ``folder``, checked against its weights' digest."""
    folder = Path(folder)
    raw = read_json(folder / BASE_CONFIG)
    refuse_format(raw.get("format"), FORMAT, f"{folder} holds a base")
    with naming(folder / BASE_CONFIG, "base"):
        features = FeatureConfig(**checked(FeatureConfig, raw["features"]))
        detector = DetectorConfig.from_dict(checked(DetectorConfig, raw.get("detector", {})))
        parts = {"features": features, "detector": detector}
        config = BaseConfig(**checked(BaseConfig, raw | parts))
        check_names(config.language, config.labels)
        check_shown(config.architecture, config.sha256)
        detector.refuse_strangers(config.labels)
    if sha256(folder / BASE_MODEL) != config.sha256:
        raise KwsError(
            f"{folder / BASE_MODEL} is damaged or of another base; pretrain or copy it again"
        )
    return config


def read_base_tensors(folder: str | Path) -> Arrays:
    """The weights of the base in ``folder``, by name.

    Raises:
        KwsError: the file is missing or damaged, or holds what is no number.

    """
    path = Path(folder) / BASE_MODEL
    tensors = read_tensors(path)
    if not all(np.isfinite(array).all() for array in tensors.values()):
        raise KwsError(f"{path} holds NaN or infinite weights; pretrain or copy it again")
    return tensors


def check_classes(config: BaseConfig, tensors: Arrays) -> None:
    """Refuse weights that tell other classes apart than the base has names for.

    Raises:
        KwsError: says so.

    """
    if len(tensors[f"{HEAD}.bias"]) != len(config.labels):
        raise KwsError(
            f"the base has {len(config.labels)} labels and a head for "
            f"{len(tensors[f'{HEAD}.bias'])}; pretrain or copy it again"
        )


def load_base(folder: str | Path, build: Build) -> Base:
    """Read a base; ``build`` makes the network that its configuration describes.

    Raises:
        KwsError: a file is missing, truncated, damaged, or does not fit the network.

    """
    import torch  # the runtime reads the configuration without it

    folder = Path(folder)
    config = read_base_config(folder)
    network = build(config)
    tensors = {n: torch.from_numpy(a) for n, a in read_base_tensors(folder).items()}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise KwsError(
            f"{folder / BASE_MODEL} holds another network than {config.architecture} of width "
            f"{config.tau:g} with {len(config.labels)} classes; pretrain or copy it again"
        ) from error
    return Base(config, network.eval().requires_grad_(False))
