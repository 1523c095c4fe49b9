"""Keep the sound around what was heard, and around what was nearly heard."""

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audio_data.encode import encode
from kws.config import SAMPLE_RATE
from kws.detector import Detection
from kws.engine import clean_samples
from kws.errors import DiskFullError, KwsError
from kws.files import (
    FULL,
    make_private,
    plain_name,
    refuse_unwritable,
    write_bytes,
    write_json,
)

from .live import LiveEngine
from .worker import CAPACITY, Tell, Worker

BEFORE: Final = 1.25  # seconds of sound kept before a decision; it saw the last of them
AFTER: Final = 0.25  # seconds kept after it
NEAR: Final = 0.6  # of its threshold that a keyword must reach for a near miss
OVER: Final = 1.0  # seconds after its peak at which a near miss is settled
MEMORY: Final = 5 * SAMPLE_RATE  # samples remembered; blocks are shorter than a second
LETTERS: Final = 32  # of a keyword, in a name
LIMIT: Final = 500  # hits, and as many near misses
NAME: Final = re.compile(r"(\d{6,})-(hit|near)-.*\.(wav|json)")
BEGUN: Final = re.compile(r"\.(\d{6,})(-(?:hit|near)-.*\.tmp)?")  # a number taken, or a file
AHEAD: Final = 1_000  # numbers beyond the next that may have been taken
ABANDONED: Final = 3_600.0  # seconds, after which nobody is still writing it

Wave = NDArray[np.float32]
Row = tuple[float, str, NDArray[np.float32]]  # time, language, scores [K]


@dataclass(frozen=True)
class Moment:
    """A decision worth keeping the sound of."""

    kind: str  # hit or near
    keyword: str
    language: str
    labels: tuple[str, ...]
    score: float
    threshold: float
    time: float  # seconds of audio
    decided: float = 0.0  # the same, or later: of a word at the very end in the silence after it

    @property
    def nearness(self) -> float:
        """The score as a share of what it had to reach."""
        return self.score / self.threshold


class Keeper:
    """Writes a WAV and a JSON file for each hit and near miss, the oldest making way.

    A near miss is a keyword that came near its threshold, or reached it too briefly, and was
    not reported. The JSON file holds the scores of every class around that time.

    Args:
        folder: for the files; others in it are left alone.
        engine: that hears.
        tell: takes a sentence when a file cannot be written.
        limit: hits kept, and near misses kept.
        capacity: clips that may wait to be written; None for any number.

    Raises:
        KwsError: the folder cannot be made.

    """

    def __init__(
        self,
        folder: Path,
        engine: LiveEngine,
        tell: Tell,
        *,
        limit: int = LIMIT,
        capacity: int | None = CAPACITY,
    ) -> None:
        self._clips = ClipFolder(folder, limit)
        self._engine, self._tell = engine, tell
        self._worker = Worker("--save-dir", tell, capacity)
        self._audio = np.zeros(0, np.float32)  # the last of what was fed
        self._fed = 0  # samples
        self._rows: deque[Row] = deque(maxlen=64)  # of 80 ms each: as long as the memory of sound
        self._due: list[Moment] = []
        self._peak: Moment | None = None  # of what may become a near miss
        self._settled = False  # what is loud now has been kept

    def hear(self, samples: Wave, found: Sequence[Detection]) -> None:
        """Remember the sound, and have written what is complete; returns at once."""
        self._audio = np.concatenate([self._audio, clean_samples(samples)[0]])[-MEMORY:]
        self._fed += len(samples)
        for event in found:
            index = self._engine.labels.index(event.keyword)
            self._due.append(self._moment("hit", index, event.score, event.time))
            self._peak, self._settled = None, True
        if self._engine.decisions and (not self._rows or self._rows[-1][0] != self._engine.time):
            row = (self._engine.time, self._engine.language, self._engine.scores)
            if self._peak and self._peak.language != self._engine.language:
                self._settle()
            self._rows.append(row)
            self._look_for_near_misses()
        self._write_due(self._fed / SAMPLE_RATE)

    def close(self, timeout: float | None = None) -> None:
        """Write what is left, but wait no longer than ``timeout`` seconds."""
        self._settle()
        self._write_due(np.inf)
        if not self._worker.close(timeout):
            self._tell("--save-dir: not all clips were written")

    def _look_for_near_misses(self) -> None:
        engine = self._engine
        nearness = engine.scores / engine.thresholds  # [K]
        best = int(nearness.argmax())
        if nearness[best] < NEAR:
            self._settle()
            self._settled = False
        elif self._peak and engine.time - self._peak.time > OVER:
            self._settle()
            self._settled = True
        elif not self._settled and (not self._peak or nearness[best] > self._peak.nearness):
            time = min(engine.time, engine.seconds)  # the last decisions are of added silence
            self._peak = self._moment("near", best, float(engine.scores[best]), time)

    def _moment(self, kind: str, index: int, score: float, time: float) -> Moment:
        engine = self._engine
        threshold = float(engine.thresholds[index])
        keyword = engine.labels[index]
        named = kind, keyword, engine.language, engine.labels
        return Moment(*named, score, threshold, time, decided=engine.time)

    def _settle(self) -> None:
        if self._peak:
            self._due.append(self._peak)
        self._peak = None

    def _write_due(self, now: float) -> None:
        """Hand over the moments whose sound is complete by ``now`` seconds."""
        ready = [moment for moment in self._due if moment.time + AFTER <= now]
        self._due = [moment for moment in self._due if moment.time + AFTER > now]
        for moment in ready:
            start = self._fed - len(self._audio)  # sample that the memory begins with
            begin = max(0, start, round((moment.time - BEFORE) * SAMPLE_RATE))
            wave = self._audio[begin - start : round((moment.time + AFTER) * SAMPLE_RATE) - start]
            record = self._record(moment, begin / SAMPLE_RATE)
            self._worker.submit(partial(self._clips.add, moment, wave, record))

    def _record(self, moment: Moment, begin: float) -> dict[str, Any]:
        end = max(moment.time + AFTER, moment.decided)
        rows = [row for row in self._rows if begin <= row[0] <= end and row[1] == moment.language]
        return {
            "kind": "hit" if moment.kind == "hit" else "near miss",
            "keyword": moment.keyword,
            "language": moment.language,
            "score": round(moment.score, 4),
            "threshold": round(moment.threshold, 4),
            "time": round(moment.time, 4),
            "begin": round(begin, 4),
            "written": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "times": [round(time, 4) for time, _, _ in rows],
            "scores": {
                label: [round(float(scores[index]), 4) for _, _, scores in rows]
                for index, label in enumerate(moment.labels)
            },
        }


class ClipFolder:
    """A folder of numbered clips of two kinds, so many of each."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._full = False  # the disk, although one has made way
        try:
            make_private(folder)
            with suppress(DiskFullError):  # there may be room by then, or the oldest make way
                refuse_unwritable(folder)
            there = [found for path in folder.iterdir() if (found := NAME.fullmatch(path.name))]
            self._next = 1 + max((int(found[1]) for found in there), default=0)
            self._kept = {
                kind: deque(sorted({int(found[1]) for found in there if found[2] == kind}))
                for kind in ("hit", "near")
            }
            self._make_way()
            self._clean_up()
        except OSError as error:
            raise KwsError(f"cannot keep clips in {folder}: {error.strerror or error}") from error

    def add(self, moment: Moment, wave: Wave, record: dict[str, Any]) -> None:
        """Write one clip, and delete the oldest of its kind if that is one too many.

        On a full disk it takes the place of the oldest. Where that makes no room, as others fill
        the disk, no more are deleted until one can be written again.
        """
        kept = self._kept[moment.kind]
        try:
            number = self._write(moment, wave, record)
        except DiskFullError:
            if not kept or self._full:
                raise
            self._remove(kept.popleft(), moment.kind)
            self._full = True
            number = self._write(moment, wave, record)
        self._full = False
        kept.append(number)
        self._make_way()

    def _write(self, moment: Moment, wave: Wave, record: dict[str, Any]) -> int:
        keyword = plain_name(moment.keyword[:LETTERS]) or "keyword"
        with _going_on(self._folder), self._number() as number:
            name = f"{number:06}-{moment.kind}-{keyword}.wav"
            path = self._folder / os.fsdecode(name.encode())  # in UTF-8 whatever the locale says
            try:
                write_bytes(path, encode(wave))
                write_json(path.with_suffix(".json"), {"file": name, **record})
            except BaseException:
                with suppress(OSError):
                    path.unlink()  # a clip without its record is none
                raise
        return number

    def _make_way(self) -> None:
        for kind, kept in self._kept.items():
            while len(kept) > self._limit:
                self._remove(kept.popleft(), kind)

    def _clean_up(self) -> None:
        """Remove what a power cut left, but nothing that another program may be writing."""
        for path in self._folder.iterdir():
            if found := BEGUN.fullmatch(path.name):
                with suppress(OSError):  # another program removes it too
                    known = path.stat()
                    age = datetime.now(UTC).timestamp() - known.st_mtime
                    taken = not known.st_size and int(found[1]) < self._next + AHEAD
                    if age > ABANDONED and (found[2] or taken):
                        path.unlink()

    @contextmanager
    def _number(self) -> Iterator[int]:
        """One that no clip has, and that no other program which keeps here takes meanwhile."""
        while True:
            number, self._next = self._next, self._next + 1
            mark = self._folder / f".{number:06}"
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                continue
            except OSError as error:
                kind = DiskFullError if error.errno in FULL else KwsError
                raise kind(f"cannot write in {self._folder}: {error.strerror}") from error
            try:
                if not any(self._folder.glob(f"{number:06}-*")):
                    yield number
                    return
            finally:
                mark.unlink(missing_ok=True)

    def _remove(self, number: int, kind: str) -> None:
        for path in self._folder.glob(f"{number:06}-{kind}-*"):
            if NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)


@contextmanager
def _going_on(folder: Path) -> Iterator[None]:
    """Tell of a full disk as one that goes on listening: nobody runs a command again."""
    try:
        yield
    except DiskFullError as error:
        raise DiskFullError(
            f"the disk of {folder} is full; clips are kept again once there is room"
        ) from error
