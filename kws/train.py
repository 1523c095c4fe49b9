"""One training loop for pretraining and adaptation; it goes on after a kill as if none was."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, Protocol, TypeVar

import torch
from torch import Tensor, nn

from .errors import KwsError
from .files import read_metadata, read_tensors, remove, write_tensors
from .metrics import accuracy

HIGHEST: Final = 1e30  # peak rate; far beyond it single precision has no such numbers
EPOCH_STEP: Final = 7_919  # epochs within which no two seeds share a draw

Optimizer = Literal["adamw", "sgd"]
T = TypeVar("T")


class EpochBatches(Protocol):
    """Batches of features ``[B, F, T]`` and labels ``[B]``, the same for the same epoch.

    Rows that hold several words each come with the frames at which these end, E of them, the
    same in every row, and with labels ``[B * E]``.
    """

    def __len__(self) -> int: ...

    def epoch(self, index: int) -> Iterator[tuple[Any, ...]]: ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast to train."""

    epochs: int
    lr: float  # peak
    optimizer: Optimizer = "adamw"
    weight_decay: float = 1e-2
    warmup: float = 0.05  # share of all steps
    seed: int = 0

    def lr_factor(self, step: int, steps: int) -> float:
        """Factor of ``lr`` at a step: linear warm-up, then half a cosine down to zero.

        Loshchilov and Hutter, https://arxiv.org/abs/1608.03983, without restarts.
        """
        rise = max(1, round(self.warmup * steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch came to.

    ``compute_seconds`` of its ``seconds`` are forward, backward and update; validation is in
    neither.
    """

    loss: float
    accuracy: float
    validation: float | None
    seconds: float
    compute_seconds: float


Watch = Callable[[int, int, float, float], None]  # step, steps, loss, accuracy


class DivergedError(KwsError):
    """The loss, or a weight, is no number; nothing can go on from there."""


@dataclass(frozen=True)
class Stage:
    """A stretch of training that is resumed by itself; ``folder`` holds its checkpoint."""

    folder: Path
    name: str
    fingerprint: str  # of everything that decides the outcome

    @property
    def path(self) -> Path:
        return self.folder / f"checkpoint-{self.name}.safetensors"

    def remove(self) -> None:
        """Delete the checkpoint, once what it was for is saved."""
        remove(self.path)


def fingerprint(settings: Any) -> str:
    """SHA-256 of settings as JSON, in hexadecimal; a checkpoint resumes only a run with its own."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def fit(
    model: nn.Module,
    batches: EpochBatches,
    plan: Plan,
    *,
    penalty: Callable[[float], Tensor] | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    validate_every: int = 1,
    stage: Stage | None = None,
    watch: Watch = lambda step, steps, loss, accuracy: None,
) -> list[Epoch]:
    """Minimise cross-entropy, plus a penalty if given, over the model's own parameters.

    Every epoch draws from its own seed, so that a run resumed at an epoch's end gives the
    weights of an uninterrupted one, bit for bit on one CPU. The penalty is called after the
    forward pass, and told which share of all steps is done. ``validate`` is asked after every
    ``validate_every`` epochs and after the last.

    Returns:
        One record per epoch, those before a resume included.

    Raises:
        DivergedError: the loss or a weight is not finite; the stage's checkpoint is deleted.
        KwsError: the checkpoint belongs to another run.

    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = _optimizer(parameters, plan)
    history = _resume(stage, model, optimizer) if stage else []
    steps = plan.epochs * len(batches)
    with torch.random.fork_rng(devices=[]):
        for index in range(len(history), plan.epochs):
            torch.manual_seed(plan.seed * EPOCH_STEP + index)  # dropout and gates
            begin = time.perf_counter()
            model.train()
            compute = total = right = seen = 0.0
            for offset, (features, labels, *ends) in enumerate(prefetch(batches.epoch(index))):
                step = index * len(batches) + offset
                for group in optimizer.param_groups:
                    group["lr"] = plan.lr * plan.lr_factor(step, steps)
                start = time.perf_counter()
                optimizer.zero_grad()
                logits: Tensor = model(features, *ends)
                loss = nn.functional.cross_entropy(logits, labels)
                (loss if penalty is None else loss + penalty(step / steps)).backward()
                optimizer.step()
                value = loss.item()
                compute += time.perf_counter() - start
                if not math.isfinite(value):
                    _give_up(f"the loss became {value}", index, stage)
                total += value * len(labels)
                right += (logits.argmax(1) == labels).sum().item()
                seen += len(labels)
                watch(step + 1, steps, total / seen, right / seen)
            seconds = time.perf_counter() - begin
            # Compiled layers can hide them: their relu makes NaN zero, and the loss stays finite.
            if not all(parameter.isfinite().all() for parameter in parameters):
                _give_up("weights became NaN or infinite", index, stage)
            due = index + 1 == plan.epochs or (index + 1) % validate_every == 0
            history.append(
                Epoch(
                    loss=total / seen,
                    accuracy=right / seen,
                    validation=validate(model) if validate and due else None,
                    seconds=seconds,
                    compute_seconds=compute,
                )
            )
            if stage:
                _save(stage, model, optimizer, history)
    return history


def _give_up(what: str, index: int, stage: Stage | None) -> NoReturn:
    """Delete the stage's checkpoint and raise a DivergedError."""
    if stage:
        stage.remove()
    raise DivergedError(f"{what} in epoch {index + 1}; lower --lr")


def prefetch(made: Iterator[T]) -> Iterator[T]:
    """The same items in order, each made in a thread while the one before is in use.

    An item that is None ends the iteration.

    >>> list(prefetch(iter([1, 2, 3])))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as worker:
        coming = worker.submit(next, made, None)
        while (one := coming.result()) is not None:
            coming = worker.submit(next, made, None)
            yield one


def _optimizer(parameters: list[nn.Parameter], plan: Plan) -> torch.optim.Optimizer:
    if plan.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, plan.lr, momentum=0.9, weight_decay=plan.weight_decay, nesterov=True
        )
    return torch.optim.AdamW(parameters, plan.lr, weight_decay=plan.weight_decay)


def _save(
    stage: Stage, model: nn.Module, optimizer: torch.optim.Optimizer, history: list[Epoch]
) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer.{number}.{name}": torch.as_tensor(value)
            for name, value in state.items()
            if value is not None
        }
    record = {
        "fingerprint": stage.fingerprint,
        "history": json.dumps([asdict(epoch) for epoch in history]),
    }
    write_tensors(stage.path, {name: t.cpu().numpy() for name, t in tensors.items()}, record)


def _resume(stage: Stage, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Epoch]:
    """Go on from the stage's checkpoint, if there is one; in the folder is none of another run.

    So the first stage refuses what a later one would stumble over.
    """
    records = {path: read_metadata(path) for path in stage.folder.glob("checkpoint-*.safetensors")}
    if any(record.get("fingerprint") != stage.fingerprint for record in records.values()):
        raise KwsError(
            f"{stage.folder} holds an unfinished run with other settings, recordings or code; "
            "repeat that command, choose another --out, or delete its checkpoint-*.safetensors"
        )
    if stage.path not in records:
        return []
    record = records[stage.path]
    tensors = {name: torch.from_numpy(a) for name, a in read_tensors(stage.path).items()}
    found = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    try:
        model.load_state_dict(found)
    except RuntimeError as error:
        raise KwsError(
            f"{stage.path} is of another version of this program; delete it and begin again"
        ) from error
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return [Epoch(**epoch) for epoch in json.loads(record["history"])]


def predict(model: nn.Module, features: Tensor, batch: int = 16) -> Tensor:
    """Features ``[N, F, T]`` to logits ``[N, K]``, detached and on the CPU, in evaluation mode.

    The mode before is restored. Batches are small: layer by layer, large ones leave the processor's
    cache, and take six times as long. Gradients stay enabled, since only then does a network that
    learns through compiled code (:mod:`models.gradient`) use it here too.
    """
    mode, device = model.training, next(model.parameters()).device
    model.eval()
    logits = torch.cat([model(part.to(device)).detach().cpu() for part in features.split(batch)])
    model.train(mode)
    return logits


def validator(
    features: Tensor, labels: Tensor, keywords: int, classes: int
) -> Callable[[nn.Module], float]:
    """Accuracy over the keywords' clips, among so many classes, as a function of a network."""
    spoken = labels < keywords

    def validate(model: nn.Module) -> float:
        predicted = predict(model, features[spoken])[:, :classes].argmax(1)
        return accuracy(predicted.numpy(), labels[spoken].numpy())

    return validate
