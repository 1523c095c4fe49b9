"""The cache gives what decoding gives, sooner, and never in its stead."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import audio_data.cache
from audio_data.cache import cache_folder, load_views
from audio_data.decode import decode
from audio_data.place import place
from kws.config import SAMPLE_RATE
from kws.errors import KwsError

LENGTH, MARGIN = 8_000, 800


def record(path: Path, frequency: float, seconds: float = 0.3) -> Path:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * frequency * time), SAMPLE_RATE)
    return path


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    return [record(tmp_path / f"{n}.wav", 300 * (n + 1)) for n in range(5)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded, in any order."""
    files: list[Path] = []

    def watch(path: Path) -> NDArray[np.float32]:
        files.append(path)
        return decode(path)

    monkeypatch.setattr(audio_data.cache, "decode", watch)
    return files


def load(clips: list[Path]) -> NDArray[np.int16]:
    return np.array(load_views(clips, length=LENGTH, margin=MARGIN))


def test_views_are_the_placed_recordings_in_their_order(clips: list[Path]) -> None:
    views = load(clips)
    assert views.dtype == np.int16
    for view, path in zip(views, clips, strict=True):
        np.testing.assert_allclose(
            view / 32_768, place(decode(path), LENGTH, MARGIN), atol=1 / 32_768
        )


def test_the_second_reading_is_equal_and_decodes_nothing(
    clips: list[Path], decoded: list[Path]
) -> None:
    first = load(clips)
    assert sorted(decoded) == clips
    decoded.clear()
    np.testing.assert_array_equal(load(clips), first)
    assert not decoded


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_new_cache_is_readable_by_its_owner_alone(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds people's speech, also that of recordings which nobody else may read."""
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "new" / "cache"))
    load_views(clips, length=LENGTH, margin=MARGIN)
    assert list((tmp_path / "new" / "cache").iterdir())
    assert (tmp_path / "new" / "cache").stat().st_mode & 0o777 == 0o700


def test_a_changed_file_is_seen(clips: list[Path], decoded: list[Path]) -> None:
    """Also one of the same length, rewritten."""
    before = load(clips)
    record(clips[2], 2_000)
    stat = clips[2].stat()
    os.utime(clips[2], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))  # clocks can be coarse
    decoded.clear()
    after = load(clips)
    assert clips[2] in decoded
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [
        True, True, False, True, True,
    ]  # fmt: skip


def test_order_and_settings_matter(clips: list[Path]) -> None:
    views = load(clips)
    np.testing.assert_array_equal(load(clips[::-1]), views[::-1])
    wider = load_views(clips, length=LENGTH, margin=MARGIN + 1)
    assert wider.shape == (5, LENGTH + 2 * MARGIN + 2)


def test_a_missing_file_is_named_although_the_others_are_cached(
    clips: list[Path], folder: Path
) -> None:
    """As many views as files, or an error: never fewer views."""
    load(clips)
    with pytest.raises(KwsError, match=r"gone\.wav does not exist"):
        load([*clips, folder / "gone.wav"])


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array at all", None])
def test_a_damaged_cache_is_made_again(
    clips: list[Path], folder: Path, damage: bytes | None
) -> None:
    views = load(clips)
    (cached,) = folder.iterdir()
    whole = cached.read_bytes()
    cached.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    np.testing.assert_array_equal(load(clips), views)
    assert cached.read_bytes() == whole


def test_an_array_of_another_shape_is_no_cache(clips: list[Path], folder: Path) -> None:
    views = load(clips)
    (cached,) = folder.iterdir()
    np.save(cached, views[:3])
    np.testing.assert_array_equal(load(clips), views)


def test_what_was_cached_is_no_longer_in_memory(clips: list[Path]) -> None:
    """Also at the first reading."""
    assert isinstance(load_views(clips, length=LENGTH, margin=MARGIN), np.memmap)


def test_a_cache_that_cannot_be_written_costs_nothing(
    clips: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = load(clips)
    blocked = folder.parent / "file"
    blocked.write_bytes(b"")  # no folder can be made below a file, not even by root
    for elsewhere in (blocked / "cache", blocked):
        monkeypatch.setenv("KWS_CACHE", str(elsewhere))
        np.testing.assert_array_equal(load(clips), views)


def test_a_full_disk_leaves_no_rest(
    clips: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert load(clips).any()
    assert not list(folder.iterdir())


def test_progress_counts_every_file(clips: list[Path]) -> None:
    seen: list[tuple[int, int]] = []
    load_views(
        clips,
        length=LENGTH,
        margin=MARGIN,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(number, 5) for number in range(1, 6)]


def test_a_broken_recording_is_named(clips: list[Path], folder: Path) -> None:
    clips[3].write_bytes(b"not a sound")
    with pytest.raises(KwsError, match=r"3\.wav is not audio"):
        load(clips)
    assert not folder.exists()  # nothing half-read is kept


def test_broken_recordings_are_named_together(clips: list[Path]) -> None:
    """The sentence ends with what to do about the first."""
    for clip in clips[1:]:
        clip.write_bytes(b"not a sound")
    with pytest.raises(KwsError) as caught:
        load(clips)
    listed = f"'{clips[1]}', '{clips[2]}', '{clips[3]}' and 1 more"
    assert str(caught.value).startswith(f"4 recordings cannot be read: {listed}; {clips[1]} is not")


def test_the_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.setenv("KWS_CACHE", "")  # as if it was not set
    assert cache_folder() == tmp_path / "b" / "kws"
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    for left in ("", "beside"):  # a cache folder that is not absolute is none
        monkeypatch.setenv("XDG_CACHE_HOME", left)
        assert cache_folder() == tmp_path / "c" / ".cache" / "kws"


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache of a user without a home."""

    def fail() -> Path:
        raise RuntimeError

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("KWS_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"kws-{os.getuid()}"


def test_who_has_no_home_has_a_cache_that_passes(
    homeless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        assert cache_folder() == homeless
    assert homeless.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("KWS_CACHE", "own")
    assert cache_folder() == Path("own")


def test_a_cache_that_others_made_or_can_change_is_refused(
    homeless: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can write where it lies, and knows its name."""
    homeless.mkdir()
    homeless.chmod(0o777)
    refused = pytest.raises(KwsError, match="another user's, or open to others; name a folder")
    with refused:
        load(clips)
    homeless.rmdir()
    own = homeless.with_name("own")
    own.mkdir(mode=0o700)
    homeless.symlink_to(homeless.with_name("nowhere yet"))
    with refused:
        load(clips)
    homeless.unlink()
    homeless.symlink_to(own)
    with refused:
        load(clips)
    homeless.unlink()
    homeless.mkdir(mode=0o700)
    assert cache_folder() == homeless
    there = homeless.lstat()
    stranger = os.stat_result((*there[:4], there.st_uid + 1, *there[5:]))
    monkeypatch.setattr(Path, "lstat", lambda path: stranger)
    with refused:
        load(clips)


def test_files_of_others_are_not_deleted_and_what_was_begun_is(
    clips: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audio_data.cache.MOST", 10)
    folder.mkdir()
    begun = folder / f".{'0' * 32}.npy.0123abcd.tmp"
    others = [folder / "mine.npy", folder / f"{'0' * 31}.npy", folder / "notes.tmp"]
    for age, path in enumerate([begun, *others]):
        path.write_bytes(bytes(100))
        os.utime(path, (1_000 + age, 1_000 + age))
    load([clips[0]])
    assert not begun.exists()
    assert all(path.exists() for path in others)


def test_names_may_be_of_any_bytes(tmp_path: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    clip = record(tmp_path / "clip.wav", 300)
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
    try:
        clip.rename(named)
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    assert load_views([named], length=LENGTH, margin=MARGIN).shape == (1, LENGTH + 2 * MARGIN)


def test_what_was_not_used_for_longest_makes_room(
    clips: list[Path], folder: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 2 * (LENGTH + 2 * MARGIN)  # bytes of a clip
    monkeypatch.setattr("audio_data.cache.MOST", round(2.5 * size))
    for number in (0, 1):
        load([clips[number]])
    for age, path in enumerate(sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)):
        os.utime(path, (1_000 + age, 1_000 + age))
    load([clips[0]])  # used again, before
    load([clips[2]])
    decoded.clear()
    load([clips[0]])
    load([clips[2]])
    assert decoded == []
    load([clips[1]])
    assert decoded == [clips[1]]
    load(clips)  # more than all that is allowed stays while it is the newest
    assert len(list(folder.iterdir())) == 1


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    with pytest.raises(KwsError, match=r"loop\.wav cannot be read"):
        load_views([loop], length=16_000, margin=0)
