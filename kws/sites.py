"""Sites: the modules of a network that a language may reparametrize."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .forms import MARK, WHOLE, Form, Shapes, form_of, split_name


@dataclass(frozen=True)
class Site:
    """A convolution's weight, or a normalisation's scale and shift, and the form it is owned in.

    In the vector of all sites' weights (:func:`flatten`) those of this one begin at ``start``. A
    language owns ``size`` numbers of it, which is ``num_weights`` where it is owned whole.
    """

    name: str  # its module's name and, if it is not owned whole, its form
    kind: Literal["conv", "norm"]
    shapes: dict[str, tuple[int, ...]]  # by parameter name, in order
    start: int
    size: int
    num_weights: int

    @property
    def stop(self) -> int:
        return self.start + self.num_weights

    @property
    def module(self) -> str:
        """Its name in the network, whatever the form."""
        return split_name(self.name)[0]

    @property
    def form(self) -> Form:
        """How its numbers become changes of its weights."""
        return form_of(split_name(self.name)[1])

    @property
    def tensor_shapes(self) -> Shapes:
        """Of its tensors, in order."""
        return tuple(self.shapes.values())

    def weight_indices(self) -> Tensor:
        """Which of its weights change, counted from its own first (:class:`kws.forms.Form`)."""
        return torch.from_numpy(self.form.weight_indices(self.tensor_shapes))

    def with_form(self, form: Form) -> "Site":
        """The same site in another form.

        Raises:
            KwsError: the form does not suit it.

        """
        name = self.module if form == WHOLE else f"{self.module}{MARK}{form}"
        return replace(self, name=name, size=form.size(self.tensor_shapes))


def find_sites(network: nn.Module) -> tuple[Site, ...]:
    """All sites, whole, in the order of the network's own modules; the head is left out."""
    sites: list[Site] = []
    start = 0
    for name, module in network.named_modules():
        kind: Literal["conv", "norm"]
        if isinstance(module, nn.modules.conv._ConvNd):
            kind = "conv"
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            kind = "norm"
        else:
            continue
        shapes = {f"{name}.{key}": tuple(p.shape) for key, p in module.named_parameters()}
        if not shapes:
            continue  # a normalisation without scale and shift
        size = sum(p.numel() for p in module.parameters())
        sites.append(Site(name, kind, shapes, start, size, size))
        start += size
    return tuple(sites)


def lone_weights(network: nn.Module, sites: Sequence[Site]) -> dict[str, NDArray[np.float32]]:
    """The weights of the sites that have one tensor alone, by module."""
    alone = {site.module: next(iter(site.shapes)) for site in sites if len(site.shapes) == 1}
    return {
        module: network.get_parameter(name).detach().cpu().numpy().copy()
        for module, name in alone.items()
    }


def flatten(network: nn.Module, sites: Sequence[Site]) -> Tensor:
    """A copy of the sites' weights as one vector ``[n]``."""
    names = [name for site in sites for name in site.shapes]
    if not names:
        return torch.zeros(0)
    return torch.cat([network.get_parameter(name).detach().reshape(-1) for name in names])


def unflatten(vector: Tensor, sites: Sequence[Site]) -> dict[str, Tensor]:
    """The vector ``[n]`` as named parameters; views, so gradients pass."""
    shapes = {name: shape for site in sites for name, shape in site.shapes.items()}
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]
    pieces = vector.split(sizes)
    return {
        name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
    }
