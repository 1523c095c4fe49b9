"""The microphone over a real sound system, without hardware: PulseAudio's null sink."""

import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import IO

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from kws.config import SAMPLE_RATE

DECISION = 0.08  # seconds from one to the next
Wave = NDArray[np.float32]
ROOT = Path(__file__).resolve().parent.parent


def tone(rate: int, frequency: float = 1_000.0, seconds: float = 1.0) -> Wave:
    when = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * when)).astype(np.float32)


@dataclass
class VirtualMicrophone:
    """A sound server whose default microphone hears what is played to it."""

    environment: dict[str, str]
    server: "subprocess.Popen[bytes]"

    @classmethod
    def begin(cls, environment: dict[str, str]) -> "VirtualMicrophone":
        """Start the server, and wait until it answers."""
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"]
        command += ["-L", "module-native-protocol-unix"]
        command += ["-L", "module-null-sink sink_name=mic rate=16000 channels=1"]
        server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            _await_server(server, environment)
        except BaseException:
            server.kill()
            server.wait()
            raise
        return cls(environment, server)

    def end(self) -> None:
        """Kill the server."""
        self.server.kill()
        self.server.wait()

    def play(self, file: Path) -> None:
        """Play to the end."""
        command = ["paplay", "--device=mic", str(file)]
        subprocess.run(command, env=self.environment, check=True, timeout=120)

    def start(self, *command: str) -> "Program":
        """Start Python with a microphone."""
        process = subprocess.Popen(
            [sys.executable, *command],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        return Program(process)


class Program:
    """A program whose output is read as it comes; use it in a ``with``."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout
        assert process.stderr
        self.output, self._reads_output = _lines(process.stdout)
        self.errors, self._reads_errors = _lines(process.stderr)

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reads_output.join()
        self._reads_errors.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()

    def wait_for(self, lines: "Queue[str]", wanted: str) -> str:
        """The next line that begins so; fails when none comes in a minute."""
        seen: list[str] = []
        while True:
            try:
                line = lines.get(timeout=60)
            except Empty:
                pytest.fail(f"no line {wanted!r} came, but {seen}")
            if line.startswith(wanted):
                return line
            seen.append(line)

    def type(self, keys: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def finish(self) -> tuple[int, list[str], list[str]]:
        """Wait for the end; exit code, and the rest of both outputs."""
        code = self.process.wait(timeout=60)
        self._reads_output.join()
        self._reads_errors.join()
        return code, list(self.output.queue), list(self.errors.queue)


def _lines(pipe: IO[str]) -> tuple["Queue[str]", threading.Thread]:
    lines: Queue[str] = Queue()

    def read() -> None:
        for line in pipe:
            lines.put(line.rstrip("\n"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return lines, thread


@pytest.fixture
def virtual_microphone(tmp_path: Path) -> Iterator[VirtualMicrophone]:
    """PulseAudio with a sink that goes nowhere; its monitor is the default microphone."""
    missing = [name for name in ("pulseaudio", "pactl", "paplay") if not shutil.which(name)]
    if missing:
        pytest.skip(f"no virtual microphone: {', '.join(missing)} is not installed")
    run, home = tmp_path / "run", tmp_path / "home"
    run.mkdir(mode=0o700)
    home.mkdir()
    (home / ".asoundrc").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
    environment = os.environ | {"XDG_RUNTIME_DIR": str(run), "HOME": str(home)}
    for name in ("PULSE_SERVER", "PULSE_RUNTIME_PATH", "XDG_CONFIG_HOME"):
        environment.pop(name, None)
    microphone = VirtualMicrophone.begin(environment)
    try:
        _check_portaudio(environment)
        yield microphone
    finally:
        microphone.end()


def _await_server(server: "subprocess.Popen[bytes]", environment: dict[str, str]) -> None:
    command = ["pactl", "set-default-source", "mic.monitor"]
    for _ in range(100):
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        if not done.returncode:
            return
        assert server.poll() is None, "pulseaudio ended"
        time.sleep(0.1)
    pytest.fail("pulseaudio did not start in ten seconds")


def _check_portaudio(environment: dict[str, str]) -> None:
    code = "import sounddevice; sounddevice.query_devices(kind='input')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        pytest.skip(f"no virtual microphone: PortAudio does not see PulseAudio ({reason})")


RECORD = """
import json, sys
import numpy as np
from apps.listening.microphone import Microphone
from kws.errors import KwsError
heard = np.zeros(0, np.float32)
try:
    with Microphone() as microphone:
        microphone.tell = lambda sentence: print(sentence, file=sys.stderr, flush=True)
        for block in microphone:
            if not len(heard) and len(block):
                print("ready", flush=True)
            heard = np.concatenate([heard, block])
            if np.abs(heard[:-32_000]).max(initial=0) > 0.1:  # two seconds of it
                break
except KwsError as error:
    sys.exit(f"refused: {error}")
loud = int(np.argmax(np.abs(heard) > 0.1))
heard = heard[loud + 8_000 : loud + 24_000]
spectrum = np.abs(np.fft.rfft(heard))
print(json.dumps({
    "frequency": int(spectrum.argmax()),
    "share": float(spectrum.max() ** 2 / (spectrum ** 2).sum()),
    "peak": float(np.abs(heard).max()),
    "dropped": microphone.dropped,
}))
"""


def test_a_tone_arrives_through_a_real_sound_system(
    virtual_microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(SAMPLE_RATE, 1_234.0, 3.0), SAMPLE_RATE)
    with virtual_microphone.start("-c", RECORD) as program:
        program.wait_for(program.output, "ready")
        virtual_microphone.play(tmp_path / "tone.wav")
        code, lines, errors = program.finish()
    assert code == 0, errors
    heard = json.loads(lines[-1])
    assert heard["frequency"] == 1_234
    assert heard["share"] > 0.95
    assert heard["peak"] == pytest.approx(0.5, abs=0.02)
    assert heard["dropped"] == 0


def test_a_sound_system_that_dies_and_comes_back_is_heard_again(
    virtual_microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(SAMPLE_RATE, 1_234.0, 3.0), SAMPLE_RATE)
    with virtual_microphone.start("-c", RECORD) as program:
        program.wait_for(program.output, "ready")
        virtual_microphone.end()
        program.wait_for(program.errors, "the microphone is lost: default; looking for it")
        again = VirtualMicrophone.begin(virtual_microphone.environment)
        try:
            program.wait_for(program.errors, "the microphone is back: default")
            again.play(tmp_path / "tone.wav")
            code, lines, errors = program.finish()
        finally:
            again.end()
    assert code == 0, errors
    heard = json.loads(lines[-1])
    assert heard["frequency"] == 1_234
    assert heard["share"] > 0.95


LISTEN = """
import sys
from types import ModuleType
import numpy as np
from kws.config import FeatureConfig
from kws.detector import DetectorConfig
from kws.engine import WindowScorer

class Loud:
    languages = ("ara", "cmn")
    active_adapter, active = "ara", None

    @property
    def labels(self):
        return {"ara": ("صوت", "_silence_"), "cmn": ("声音", "_silence_")}[self.active_adapter]

    def set_adapter(self, language):
        self.active_adapter = language

    def scores(self, view):
        loud = np.abs(view[6_000:10_000]).mean() > 0.1
        return np.array([loud, not loud], np.float32)

    def hop_scorer(self, hop):
        return WindowScorer(self, FeatureConfig.view)

    def detector_config(self, language):
        return DetectorConfig()

sys.modules["apps.wiring"] = ModuleType("apps.wiring")
sys.modules["apps.wiring"].open_runtime = lambda base, adapters, language: Loud()
from apps.listen import listen
listen(["--base", "base", "--language", "ara", "--json"])
"""


def test_listen_switches_between_two_sounds_of_a_real_sound_system(
    virtual_microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    sound = np.concatenate([tone(SAMPLE_RATE, seconds=0.5), np.zeros(SAMPLE_RATE, np.float32)])
    soundfile.write(tmp_path / "sound.wav", sound, SAMPLE_RATE)
    with virtual_microphone.start("-c", LISTEN) as program:
        ready = program.wait_for(program.errors, "listening on")
        virtual_microphone.play(tmp_path / "sound.wav")
        first = program.wait_for(program.output, "{")
        program.type("2")
        program.wait_for(program.errors, "listening in cmn")
        virtual_microphone.play(tmp_path / "sound.wav")
        second = program.wait_for(program.output, "{")
        program.type("q")
        code, lines, errors = program.finish()
    keys = "1 ara, 2 cmn, Tab next, + - threshold, m mute, q quit"
    assert ready == f"listening on default in ara; keys: {keys}"
    heard = [json.loads(line) for line in (first, second)]
    assert [(event["keyword"], event["language"]) for event in heard] == [
        ("صوت", "ara"),
        ("声音", "cmn"),
    ]
    assert (code, lines, errors) == (0, [], [])


def clips(manifest: Path, corpus: str, words: Sequence[str]) -> list[Path]:
    """One test clip of each word, from different speakers where there are enough."""
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus"] == corpus]
    rows = [row for row in rows if row["split"] == "test"]
    chosen = []
    for number, word in enumerate(words):
        of_word = [row for row in rows if row["word"] == word]
        chosen.append(manifest.parent / of_word[number * 7 % len(of_word)]["path"])
    return chosen


def write_sentence(file: Path, recordings: Sequence[Path]) -> None:
    """All recordings in one file, each after a second of silence."""
    from audio_data.decode import decode

    gap = np.zeros(SAMPLE_RATE, np.float32)
    parts = [part for path in recordings for part in (gap, decode(path))]
    soundfile.write(file, np.concatenate([*parts, gap]), SAMPLE_RATE)


ZOO = Path(__file__).resolve().parent.parent / "models" / "zoo"
MANDARIN = ("上海", "数字", "中国")
ARABIC = ("استقبال", "يمين", "أعلى")


def test_listen_hears_words_and_switches(
    shared_data: Path, virtual_microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    manifest = shared_data / "manifest.csv"
    write_sentence(tmp_path / "cmn.wav", clips(manifest, "dspspeech20-mandarin", MANDARIN))
    write_sentence(tmp_path / "ara.wav", clips(manifest, "arabic-speech-commands", ARABIC))
    command = ["-c", "from apps.cli import main; main()", "listen", "--base", str(ZOO / "ara")]
    command += ["--adapter", str(ZOO / "cmn"), "--language", "cmn", "--json"]
    with virtual_microphone.start(*command) as program:
        program.wait_for(program.errors, "listening on")
        virtual_microphone.play(tmp_path / "cmn.wav")
        program.type("1")  # the base's own language
        program.wait_for(program.errors, "listening in ara")
        virtual_microphone.play(tmp_path / "ara.wav")
        program.type("q")
        code, lines, errors = program.finish()
    assert code == 0, errors
    found = [json.loads(line) for line in lines]
    assert errors == []
    assert [(event["language"], event["keyword"]) for event in found] == [
        *(("cmn", word) for word in MANDARIN),
        *(("ara", word) for word in ARABIC),
    ]
    assert all(list(event) == ["keyword", "language", "score", "time"] for event in found)
    assert [event["time"] for event in found] == sorted(event["time"] for event in found)


def test_listen_has_the_events_of_detect(
    shared_data: Path, virtual_microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    """Of the same sound: the same keywords, as far apart to two decisions.

    Between listening and playing passes some time, no whole number of decisions.
    """
    file, manifest = tmp_path / "cmn.wav", shared_data / "manifest.csv"
    write_sentence(file, clips(manifest, "dspspeech20-mandarin", MANDARIN))
    kws = "-c", "from apps.cli import main; main()"
    bank = "--base", str(ZOO / "ara"), "--adapter", str(ZOO / "cmn"), "--json"
    with virtual_microphone.start(*kws, "detect", str(file), *bank) as program:
        code, lines, errors = program.finish()
    assert (code, errors) == (0, [])
    expected = [json.loads(line) for line in lines]
    assert [event["keyword"] for event in expected] == list(MANDARIN)
    with virtual_microphone.start(*kws, "listen", *bank) as program:
        program.wait_for(program.errors, "listening on")
        virtual_microphone.play(file)
        found = [json.loads(program.wait_for(program.output, "{")) for _ in expected]
        program.type("q")
        code, lines, errors = program.finish()
    assert (code, lines, errors) == (0, [], [])
    named = [[(one["keyword"], one["language"]) for one in events] for events in (found, expected)]
    assert named[0] == named[1]
    apart = [np.diff([one["time"] for one in events]) for events in (found, expected)]
    np.testing.assert_allclose(apart[0], apart[1], rtol=1e-6, atol=2 * DECISION)


def test_collect_records_words(virtual_microphone: VirtualMicrophone, tmp_path: Path) -> None:
    """The sound server may deliver two seconds at once: so there is a second before the word."""
    said = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), tone(SAMPLE_RATE, 1_234.0, 0.5)])
    soundfile.write(tmp_path / "word.wav", said, SAMPLE_RATE)
    command = ["-c", "from apps.cli import main; main()", "collect", "--language", "de"]
    command += ["--words", "ja,nein", "--speaker", "s01", "--out", str(tmp_path / "data")]
    command += ["--repeats", "1", "--seconds", "5", "--json"]
    with virtual_microphone.start(*command) as program:
        for word in ("ja", "nein"):
            program.wait_for(program.errors, f"say: {word}")
            program.wait_for(program.errors, "now")
            virtual_microphone.play(tmp_path / "word.wav")
            assert program.wait_for(program.errors, "").startswith("good: 0.5")
            program.type("\n")
            program.wait_for(program.errors, f"kept {tmp_path / 'data' / word}")
        code, lines, errors = program.finish()
    assert (code, errors) == (0, [])
    assert json.loads(lines[-1])["clips"] == {"ja": 1, "nein": 1}
    with (tmp_path / "data" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["word"], row["speaker"], row["split"]) for row in rows] == [
        ("ja", "s01", "unsplit"),
        ("nein", "s01", "unsplit"),
    ]
    for row in rows:
        wave, rate = soundfile.read(tmp_path / "data" / row["path"], dtype="float32")
        assert rate == SAMPLE_RATE
        assert len(wave) / rate == pytest.approx(1.1, abs=0.1)  # the word and its margins
        assert np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave) == pytest.approx(1_234, abs=2)
