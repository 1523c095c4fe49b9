"""Stream evaluation hears what the listener hears, and reports on people it did not choose on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import soundfile
from helpers import VIEW, Kws, WholeViews
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from apps.progress import duration
from apps.streams.det import draw_det, title
from apps.streams.report import evaluate_stream, table
from apps.streams.scoring import LiveScorer, Scorer, score_stream
from apps.streams.trial import Trial, latency_text, play
from apps.wiring import open_runtime
from audio_data.clips import SPLITS, Clip
from audio_data.corpus import read_corpus
from audio_data.decode import decode
from audio_data.long import LongRecordings
from audio_data.manifest import write_manifest
from audio_data.material import Material, read_material
from audio_data.streams import NegativeStream, PositiveStream
from kws.adapter import read_adapter_config, save_adapter_config
from kws.calibration import GRID
from kws.config import SAMPLE_RATE
from kws.detector import Detection, DetectorConfig, Levels
from kws.engine import Engine
from kws.errors import KwsError, UsageError
from kws.runtime import Runtime
from kws.stream_metrics import ScoredStream

Wave = NDArray[np.float32]

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5  # of probabilities
LABELS = ("high", "low", "_unknown_", "_silence_")
REPORT_KEYS = [
    "language",
    "hours",
    "distinct_hours",
    "split_by",
    "made",
    "count",
    "chosen_on",
    "points",
    "det",
    "picture",
    "notes",
]


# --- scores ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bank() -> Runtime:
    """The supplied networks."""
    return open_runtime(ROOT / "models/zoo/ara", [ROOT / "models/zoo/cmn"])


@pytest.mark.parametrize("seed", range(2))
def test_scores_do_not_depend_on_the_pieces_in_which_the_sound_comes(
    bank: Runtime, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * 300 * time**2) * np.abs(np.sin(2 * time))
    sound = (tone + rng.normal(0, 0.1, len(tone))).astype(np.float32)
    sound[20_000:20_100] = np.nan
    scorer = LiveScorer(bank)
    pieces = np.split(sound, np.sort(rng.integers(0, len(sound), 6)))
    found = np.concatenate([scorer.feed(piece) for piece in pieces])
    assert found.shape == (len(sound) // scorer.hop, len(bank.labels))
    assert np.ptp(found, axis=0).max() > 100 * TOLERANCE
    scorer.reset()
    again = scorer.feed(np.nan_to_num(sound))
    np.testing.assert_allclose(again, found, atol=TOLERANCE, rtol=0)


def test_less_than_a_hop_gives_no_decision(bank: Runtime) -> None:
    for scorer in (LiveScorer(bank), LiveScorer(FakeSpotter())):
        labels = len(scorer.labels)
        assert scorer.feed(np.zeros(scorer.hop - 1, np.float32)).shape == (0, labels)
        assert scorer.feed(np.zeros(1, np.float32)).shape == (1, labels)


# --- a spotter that cannot err --------------------------------------------------------------------


class FakeSpotter(WholeViews):
    """A spotter that hears low and high tones, however loud, and nothing else."""

    def __init__(self) -> None:
        self.languages = ("x",)
        self.active_adapter = "x"
        self.labels = LABELS

    def set_adapter(self, language: str) -> None:
        raise KwsError("there is but one")

    def detector_config(self, language: str) -> DetectorConfig:
        return DetectorConfig()

    def scores(self, view: Wave) -> Wave:
        power = np.abs(np.fft.rfft(view[VIEW // 2 :])) ** 2  # bins of 2 Hz
        shares = [power[900:1_100].sum(), power[100:200].sum(), 0.05 * power.sum() + 1e-9]
        found = np.array([*shares, 0.0])
        return np.asarray(found / found.sum(), np.float32)


def tone(path: Path, frequency: float) -> Path:
    time = np.arange(round(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.pad(0.3 * np.sin(2 * np.pi * frequency * time), 3_200)
    soundfile.write(path, wave, SAMPLE_RATE)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two keywords and another word; the test person says each three times, others twice."""
    folder = tmp_path_factory.mktemp("tones")
    clips = [
        Clip(
            path=tone(folder / f"{word}/{split}_{take}.wav", pitch),
            word=word,
            language="x",
            speaker=split,
            split=split,
        )
        for word, pitch in (("low", 300), ("high", 2_000), ("other", 5_000))
        for split in SPLITS
        for take in range(3 if split == "test" else 2)
    ]
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(0, 0.1, 20 * SAMPLE_RATE))
    spectrum[: len(spectrum) // 2] = 0  # all above 4 kHz, where no keyword is
    (folder / "noise").mkdir()
    soundfile.write(folder / "noise" / "hiss.wav", np.fft.irfft(spectrum), SAMPLE_RATE)
    write_manifest(folder / "manifest.csv", clips)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def result(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return evaluate_stream(
        LiveScorer(FakeSpotter()),
        read_material(corpus, LABELS),
        DetectorConfig(),
        hours=60 / 3600,
        snrs=(30.0, -20.0),
        seed=0,
        picture=tmp_path_factory.mktemp("det") / "det.png",
    )


def test_a_perfect_ear_hears_every_word_once(result: dict[str, Any]) -> None:
    assert list(result) == REPORT_KEYS
    assert [point["aim_per_hour"] for point in result["points"]] == [0.5, 2.0, None]
    for point in result["points"]:
        assert point["negatives"]["false_accepts"] == 0
        clear = point["snr"]["30"]
        assert (clear["misses"], clear["confusions"], clear["false_accepts"]) == (0, 0, 0)
        assert abs(clear["latency_seconds"]["median"]) < 0.4


def test_what_noise_hides_is_missed(result: dict[str, Any]) -> None:
    assert result["points"][0]["snr"]["-20"]["miss_rate"] > 0.5


def test_the_report_is_on_the_test_person(result: dict[str, Any]) -> None:
    """Who says each keyword three times."""
    for point in result["points"]:
        assert point["snr"]["30"]["count"] == 6
        assert {k: v["count"] for k, v in point["snr"]["30"]["per_keyword"].items()} == {
            "low": 3,
            "high": 3,
        }
    assert list(result["points"][0]["chosen"]) == ["hours", "false_accepts", "per_hour", "kept"]
    assert result["points"][0]["chosen"]["kept"]
    assert result["points"][-1]["chosen"] is None
    assert result["count"] == 6


def test_hours_are_told_beside_what_they_were_made_of(result: dict[str, Any]) -> None:
    assert result["hours"] == pytest.approx(60 / 3600, abs=1e-4)
    assert result["distinct_hours"]["words"] == pytest.approx(3 * 0.8 / 3600, abs=1e-5)
    chosen_on = result["chosen_on"]["distinct_hours"]["words"]  # of another person
    assert chosen_on == pytest.approx(2 * 0.8 / 3600, abs=1e-5)
    assert any("too few to show 0.5 per hour" in note for note in result["notes"])
    assert any("times on average" in note for note in result["notes"])


def test_bounds_rest_on_what_was_different(result: dict[str, Any]) -> None:
    """Three words and the end of one noise, however long they are played."""
    hours = result["points"][0]["negatives"]["bound_hours"]
    assert hours == pytest.approx(sum(result["distinct_hours"].values()), abs=2e-5)
    assert hours < 0.2 * result["hours"]
    assert result["points"][0]["negatives"]["upper_95"] > 2.9 / hours
    assert any(f"bounds count only {duration(hours)}" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("played", "distinct", "enough"), [(8, 8, True), (8, 5, False), (5, 8, False), (5, 5, False)]
)
def test_hours_show_a_rate_only_where_they_are_different(
    corpus: Path, played: int, distinct: float, enough: bool
) -> None:
    """It takes 6 hours to show fewer than one in two."""
    scores = np.zeros((played * 45_000, len(LABELS)), np.float32)  # 80 ms each
    negatives = ScoredStream(LABELS, "x", scores, 1_280, distinct=distinct)
    material = read_material(corpus, LABELS)["test"]
    short = Trial(negatives, {}, {}, 1.0, material, True).too_short(0.5)
    assert (short is None) == enough
    assert enough or str(short).startswith("5.00 h of different recordings are too few")


@pytest.mark.parametrize(
    ("distinct", "repeated", "told"),
    [
        (0.995, 1.0, []),
        (0.9, 1.0, ["1.00 h without keywords were made of 0.90 h of words and silence; the 95 %"]),
        (0.9, 1.04, ["1.00 h without keywords were made of 0.90 h of words and silence; the 95 %"]),
        (0.2, 4.5, ["1.00 h without keywords were made of 0.20 h of words, played 4.5 times on "]),
    ],
)
def test_what_is_not_different_sound_is_told(
    corpus: Path, distinct: float, repeated: float, told: list[str]
) -> None:
    scores = np.zeros((45_000, len(LABELS)), np.float32)  # 80 ms each
    negatives = ScoredStream(LABELS, "x", scores, 1_280, distinct=distinct)
    material = read_material(corpus, LABELS)["test"]
    notes = Trial(negatives, {}, {"words": distinct}, repeated, material, True).notes
    assert [note[: len(start)] for note, start in zip(notes, told, strict=True)] == told


def test_sound_in_which_nobody_speaks_is_told_of(corpus: Path) -> None:
    material = read_material(corpus, LABELS)["test"]
    for half, told in ((material, False), (replace(material, others=()), True)):
        trial = play(LiveScorer(FakeSpotter()), half, hours=10 / 3600)
        assert any(note.startswith("nobody speaks") for note in trial.notes) == told


def test_streams_are_of_the_seed_that_is_given(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves, scorer = read_material(corpus, LABELS), LiveScorer(FakeSpotter())
    hours, snrs = 10 / 3600, (30.0,)
    first, again, other = (
        play(scorer, halves["test"], hours=hours, snrs=snrs, seed=seed) for seed in (0, 0, 1)
    )
    for a, b in ((first.negatives, other.negatives), (first.positives[30], other.positives[30])):
        assert a.scores.tobytes() != b.scores.tobytes()
    assert first.negatives.scores.tobytes() == again.negatives.scores.tobytes()
    assert first.positives[30].spoken == again.positives[30].spoken
    played: list[tuple[str, object]] = []

    def noted(scorer: Scorer, material: Material, **named: Any) -> Trial:
        played.append((material.half, named["seed"]))
        return play(scorer, material, **named)

    monkeypatch.setattr("apps.streams.report.play", noted)
    picture = tmp_path / "x.png"
    evaluate_stream(
        scorer, halves, DetectorConfig(), hours=hours, snrs=snrs, seed=7, picture=picture
    )
    assert played == [("validation", 7), ("test", 7)]


def test_the_picture_is_one(result: dict[str, Any]) -> None:
    image = matplotlib.image.imread(result["picture"])
    assert image.shape[0] > 400
    assert image.shape[1] > 600
    assert np.ptp(image) == 1


def drawn(miss_rates: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> Axes:
    """The picture of two hours, of a curve of two points and one that was chosen."""
    figures: list[Figure] = []
    monkeypatch.setattr("apps.streams.det.save", lambda figure, path: figures.append(figure))
    curve = [
        {"false_accepts_per_hour": rate, "miss_rate": missed}
        for rate, missed in zip((4.0, 0.0), miss_rates, strict=True)
    ]
    found = {"count": 20, "miss_rate": 0.1}
    point = {
        "aim_per_hour": 0.5,
        "negatives": {"per_hour": 1.5, "upper_95": 9},
        "snr": {"10": found},
    }
    told = {"language": "x", "split_by": "people", "hours": 2.0, "det": {"10": curve}}
    draw_det({**told, "points": [point]}, Path("x.png"))
    (axes,) = figures[0].axes
    return axes


@pytest.mark.parametrize(
    ("miss_rates", "percents", "told"),
    [
        ((0.05, 0.5), (5.0, 50.0), ["none in 2.0 h"]),
        ((0.0, 0.5), (2.5, 50.0), ["none in 2.0 h", "none of 20"]),
    ],
)
def test_the_picture_has_nothing_at_half_an_event(
    miss_rates: tuple[float, float],
    percents: tuple[float, float],
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both axes are logarithmic: a word of twenty is 5 %, an event in two hours 0.5 per hour."""
    axes = drawn(miss_rates, monkeypatch)
    lines = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
    assert lines == {
        "10 dB": [[4.0, percents[0]], [0.25, percents[1]]],
        "10 dB, chosen for 0.5 per hour": [[1.5, 10.0]],
    }
    assert [text.get_text() for text in axes.texts] == told


def test_a_table_for_people(result: dict[str, Any]) -> None:
    shown = table(result)
    assert "thresholds for 0.5 per hour: 0.00 false accepts per hour" in shown
    assert "thresholds as stored" in shown
    assert "30 dB: 0.0% of 6 missed" in shown
    assert "0.0% of those alone, 0.0% of the 50% close to other words" in shown
    assert "each keyword, thresholds for 0.5 per hour: threshold, false accepts, missed" in shown
    assert all(f"  {word}" in shown for word in ("low", "high"))
    assert latency_text({"median": 0.2, "p90": 0.5}) == "0.20 s (90 %: 0.50 s)"
    assert latency_text(None) == "-"


@pytest.mark.parametrize(
    ("split_by", "said"),
    [("people", "chosen on other people"), ("files", "chosen on other files, maybe of the same")],
)
def test_table_and_picture_say_on_whom_thresholds_were_chosen(
    result: dict[str, Any], split_by: str, said: str
) -> None:
    told = result | {"split_by": split_by}
    assert said in title(told)
    assert said in table(told)


def test_people_are_known_to_be_others(result: dict[str, Any]) -> None:
    """As the manifest says who speaks."""
    assert result["split_by"] == "people"
    assert not any("by files only" in note for note in result["notes"])


def live(wave: Wave, engine: Engine) -> list[Detection]:
    """What the engine reports when it is fed in blocks of its own choosing."""
    blocks = [wave[start : start + 5_000] for start in range(0, len(wave), 5_000)]
    return [event for block in blocks for event in engine.feed(block)] + engine.flush()


def joined(stream: PositiveStream) -> Wave:
    return np.concatenate([wave for wave, _ in stream])


def test_recorded_scores_give_the_events_of_the_live_engine(corpus: Path) -> None:
    """The promise that what is measured is what runs."""
    material = read_material(corpus, LABELS)["test"]
    scorer: Scorer = LiveScorer(FakeSpotter())
    stream = PositiveStream(material, 10)
    events = live(joined(stream), Engine(FakeSpotter()))
    assert len(events) == 6
    assert score_stream(scorer, stream).detect(DetectorConfig()) == events


def test_a_stream_is_heard_anew_and_its_progress_told(corpus: Path) -> None:
    """Whatever was heard before."""
    stream = NegativeStream(read_material(corpus, LABELS)["test"], 60)
    scorer, calls = LiveScorer(FakeSpotter()), list[tuple[int, int]]()
    expected = score_stream(scorer, stream, lambda done, total: calls.append((done, total))).scores
    scorer.feed(np.ones(scorer.hop + 1, np.float32))
    assert np.array_equal(score_stream(scorer, stream).scores, expected)
    assert {total for _, total in calls} == {60}
    done = [seconds for seconds, _ in calls]
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] == 60


def test_a_word_at_the_very_end_of_a_stream_is_heard_as_live(tmp_path: Path) -> None:
    """By the silence that ends every stream, and no later than the stream."""
    word = decode(tone(tmp_path / "word.wav", 300))[:6_400]
    soundfile.write(tmp_path / "cut.wav", word, SAMPLE_RATE, subtype="FLOAT")
    heard = score_stream(LiveScorer(FakeSpotter()), LongRecordings(tmp_path / "cut.wav"))
    events = heard.detect(DetectorConfig())
    assert events == live(word, Engine(FakeSpotter()))
    assert [event.time for event in events] == [pytest.approx(0.4)]
    assert heard.hours == pytest.approx(0.4 / 3600)


@pytest.mark.parametrize("language", ["ara", "cmn"])
def test_detect_finds_in_a_file_what_stream_evaluation_counts(
    kws: Kws, spoken: Path, tmp_path: Path, language: str
) -> None:
    """Of synthetic speech, by the supplied base and adapter."""
    words = [decode(clip.path) for clip in read_corpus(spoken)[::3]]
    path = tmp_path / "made.wav"
    soundfile.write(path, np.concatenate(words), SAMPLE_RATE, subtype="FLOAT")
    folders = [] if language == "ara" else [ROOT / "models/zoo/cmn"]
    bank = open_runtime(ROOT / "models/zoo/ara", folders)
    config = bank.detector_config(language).at(0.2)
    counted = score_stream(LiveScorer(bank), LongRecordings(path)).detect(config)
    adapters = [option for folder in folders for option in ("--adapter", folder)]
    command = ["detect", path, "--base", ROOT / "models/zoo/ara", *adapters]
    code, out, err = kws(*command, "--threshold", 0.2, "--json")
    assert code == 0, err
    assert [json.loads(line) for line in out.splitlines()] == [e.as_dict() for e in counted]
    assert len(counted) >= 3


# --- chosen words -------------------------------------------------------------------------------


def test_words_that_are_not_chosen_are_other_words(corpus: Path, tmp_path: Path) -> None:
    """They are among what must not be heard, and however sure the network is, they are not."""
    scorer = LiveScorer(FakeSpotter(), ["low"])
    halves = read_material(corpus, scorer.labels)
    assert {clip.word for clip in halves["test"].keywords} == {"low"}
    assert {clip.word for clip in halves["test"].others} == {"high", "other"}
    stored = DetectorConfig(
        keywords={"high": Levels(0.7, 0.3), "low": Levels(0.6, 0.3)},
        timings={word: DetectorConfig().timing(word) for word in ("high", "low")},
    )
    found = evaluate_stream(
        scorer, halves, stored, hours=60 / 3600, snrs=(30.0,), seed=0, picture=tmp_path / "x.png"
    )
    for point in found["points"]:
        assert list(point["thresholds"]) == ["low"]
        assert point["negatives"]["false_accepts"] == 0
        assert point["snr"]["30"]["count"] == 3
        assert point["snr"]["30"]["misses"] == 0
    assert found["points"][-1]["thresholds"] == {"low": 0.6}


def test_a_word_that_the_network_does_not_know_cannot_be_chosen() -> None:
    with pytest.raises(UsageError, match="middle: not a keyword here; choose among high, low"):
        LiveScorer(FakeSpotter(), ["low", "middle"])


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def command(tiny: Path, spoken: Path, tmp_path: Path) -> list[object]:
    command = ["evaluate", "--base", tiny / "base", "--adapter", tiny / "de", "--data", spoken]
    return [*command, "--filter", "language=de"]


def test_the_command_prints_and_draws(kws: Kws, command: list[object], tmp_path: Path) -> None:
    options = ["--stream", "--hours", 0.004, "--per-word", 1, "--out", tmp_path / "a.png"]
    code, out, err = kws(*command, *options, "--snr", 10, "--snr", 0, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert list(found) == REPORT_KEYS
    assert found["language"] == "de"
    assert list(found["det"]) == ["10", "0"]
    assert set(found["points"][0]["thresholds"]) == {"ja", "links", "nein"}
    assert found["made"] == 3
    assert "synthetic voices say the keywords: people cause more misses" in found["notes"]
    assert any(note.startswith("only synthetic voices say the other") for note in found["notes"])
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--snr", 10], "--snr needs --stream"),
        (["--hours", 1], "--hours needs --stream"),
        (["--out", "x.png"], "--out needs --stream"),
        (["--keywords", "ja"], "--keywords needs --stream"),
        (["--stream", "--keywords", "ja,yes"], "yes: not a keyword here; choose among ja, links"),
        (["--stream", "--split", "test"], "--split cannot go with --stream"),
        (["--stream", "--closed"], "--closed cannot go with --stream"),
        (["--stream", "--snr", "loud"], "'loud' is not a valid float"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    kws: Kws, command: list[object], options: list[object], message: str
) -> None:
    code, out, err = kws(*command, *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


# --- real speech ----------------------------------------------------------------------------------


def test_real_words_are_heard_live_as_they_are_measured(bank: Runtime, shared_data: Path) -> None:
    """A supplied adapter, on one recording of each word in a little noise."""
    halves = read_material(
        shared_data / "manifest.csv",
        bank.labels,
        filters={"language": ["cmn"]},
        per_word=1,
    )
    assert len({clip.language for clip in halves["test"].others}) >= 3
    stream = PositiveStream(halves["test"], 20)
    config = bank.detector_config("cmn")
    recorded = score_stream(LiveScorer(bank), stream)
    events = recorded.detect(config)
    assert len(recorded.spoken) == 12
    found = live(joined(stream), Engine(bank))
    assert [(e.keyword, e.time) for e in found] == [(e.keyword, e.time) for e in events]
    assert len(events) >= 3


@pytest.mark.parametrize("name", ["evaluate", "calibrate"])
def test_who_was_in_which_split_is_kept_to(
    name: str, kws: Kws, command: list[object], tiny: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As the adapter says it."""
    adapter = Path(shutil.copytree(tiny / "de", tmp_path / "de"))
    config = replace(read_adapter_config(adapter), people={"anna": "train"})
    save_adapter_config(adapter, config)
    asked: list[object] = []

    def read(*_: object, known: object = None, **__: object) -> None:
        asked.append(known)
        raise KwsError("asked")

    reader = {"evaluate": "apps.streams.report", "calibrate": "apps.calibrate"}[name]
    monkeypatch.setattr(f"{reader}.read_material", read)
    options = ["--stream", "--out", tmp_path / "a.png"] if name == "evaluate" else []
    given = [adapter if item == tiny / "de" else item for item in command[1:]]
    assert kws(name, *given, *options)[0] == 1
    assert asked == [{"anna": "train"}]


class Jumpy(FakeSpotter):
    """Takes other words for low ones, but is not as sure of them as of these."""

    def scores(self, view: Wave) -> Wave:
        power = np.abs(np.fft.rfft(view[VIEW // 2 :])) ** 2
        found = super().scores(view)
        if power[2_400:2_600].sum() > 0.5 * power.sum():
            found[LABELS.index("low")] = 0.8
        return found


def test_trade_off_and_points_are_of_the_test_person_and_by_the_hour(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curve goes through what is stored; each rate has thresholds of its own."""
    monkeypatch.setattr("apps.streams.report.RATES", (1.0, 10_000.0))
    level = next(threshold for threshold in GRID if threshold > 0.6)
    found = evaluate_stream(
        LiveScorer(Jumpy()),
        read_material(corpus, LABELS),
        DetectorConfig(threshold=level),
        hours=60 / 3600,
        snrs=(-10.0,),
        seed=0,
        picture=tmp_path / "x.png",
    )
    strict, loose, stored = found["points"]
    assert strict["thresholds"]["low"] > 0.8 > loose["thresholds"]["low"]
    assert stored["negatives"]["false_accepts"] > 0
    assert strict["chosen"]["false_accepts"] == 0 < loose["chosen"]["false_accepts"]
    (point,) = (one for one in found["det"]["-10"] if one["threshold"] == level)
    assert point["false_accepts_per_hour"] == stored["negatives"]["per_hour"]
    assert point["miss_rate"] == stored["snr"]["-10"]["miss_rate"]
