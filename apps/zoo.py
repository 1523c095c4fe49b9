"""Where the supplied networks are, and which adapters are loaded if the user names none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kws.adapter import ADAPTER_CONFIG
from kws.base import read_base_config

ZOO: Final = Path(__file__).resolve().parent.parent / "models" / "zoo"
BASE: Final = ZOO / "ara"
NamedAdapter = tuple[str, Path]  # what an adapter is called, empty for its language, and its folder


def adapters_to_load(
    adapters: Sequence[NamedAdapter], language: str | None, *, of_a_base: bool
) -> tuple[Sequence[NamedAdapter], str | None]:
    """Which adapters are loaded, and which language is active.

    Where neither a base nor adapters are named, all supplied ones, each by its folder's name.

    Args:
        adapters: that are named.
        language: that is named.
        of_a_base: whether one is named.

    """
    if adapters or of_a_base:
        return adapters, language
    found = sorted(path.parent for path in ZOO.glob(f"*/{ADAPTER_CONFIG}"))
    return [(folder.name, folder) for folder in found], language or read_base_config(BASE).language
