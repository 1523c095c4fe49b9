"""Archives stay inside their folder, whole or not at all."""

import gzip
import os
import tarfile
from pathlib import Path

import pytest
from helpers import packed

import audio_data.unpack as module
from audio_data.unpack import unpack
from kws.errors import KwsError, UsageError


@pytest.fixture(autouse=True, params=["filters", "none"])
def _of_both_kinds_of_python(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those with filters for archives, and those before 3.11.4."""
    if request.param == "none":
        monkeypatch.setattr(module, "FILTER", {})
        monkeypatch.setattr(module, "REFUSED", (KeyError,))


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def device(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    return info


def test_folders_can_be_entered_whatever_their_rights(tmp_path: Path) -> None:
    """Else nobody but root could unpack what is in them."""
    folder = tarfile.TarInfo("a")
    folder.type, folder.mode = tarfile.DIRTYPE, 0o644
    out = unpack(packed(tmp_path / "x.tar.gz", {}, folder), tmp_path / "out")
    assert (out / "a").stat().st_mode & 0o700 == 0o700


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    files = {"./a/1.wav": b"one", "a/ü 2.wav": b"two", "top.txt": b""}
    archive = packed(tmp_path / "x.tar.gz", files, link("a/hard", "a/ü 2.wav", tarfile.LNKTYPE))
    folder = unpack(archive, tmp_path / "deep" / "out", progress=lambda *step: seen.append(step))
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == {"a/1.wav": b"one", "a/ü 2.wav": b"two", "top.txt": b"", "a/hard": b"two"}
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    assert len(seen) == 4
    assert seen[-1][1] == archive.stat().st_size


@pytest.mark.parametrize(
    ("files", "extra"),
    [
        ({"../evil": b"x"}, []),
        ({"good/../../evil": b"x"}, []),
        ({"/tmp/evil": b"x"}, []),
        ({"..\\evil": b"x"}, []),
        ({}, [link("out", "../..")]),
        ({}, [link("out", "/tmp")]),
        ({}, [link("a/out", "../../evil")]),
        ({}, [link("hard", "../evil", tarfile.LNKTYPE)]),
        ({}, [link("hard", "is not there", tarfile.LNKTYPE)]),
        ({}, [link("hard", "/etc/passwd", tarfile.LNKTYPE)]),
        ({}, [device("dev", tarfile.CHRTYPE)]),
        ({}, [device("dev", tarfile.BLKTYPE)]),
        ({}, [device("pipe", tarfile.FIFOTYPE)]),
    ],
    ids=lambda value: " ".join(getattr(one, "name", one) for one in value) or "none",
)
def test_a_member_that_escapes_is_refused(
    tmp_path: Path, files: dict[str, bytes], extra: list[tarfile.TarInfo]
) -> None:
    (tmp_path / "evil").write_bytes(b"mine")
    archive = packed(tmp_path / "x.tar.gz", {"good.txt": b"fine"} | files, *extra)
    with pytest.raises(
        KwsError, match=r"x\.tar\.gz is refused: .*(out of the folder|a device|not found)"
    ):
        unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil", "x.tar.gz"]
    assert (tmp_path / "evil").read_bytes() == b"mine"


def test_permissions_of_an_archive_are_tamed(tmp_path: Path) -> None:
    info = tarfile.TarInfo("tool")
    info.mode = 0o6777
    folder = unpack(packed(tmp_path / "x.tar.gz", {}, info), tmp_path / "out")
    assert (folder / "tool").stat().st_mode & 0o7777 == 0o755


def test_a_disk_of_its_own_is_filled_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be renamed; and nothing is copied, of which a full disk would leave a half."""
    archive = packed(tmp_path / "x.tar.gz", {"list.txt": b"text", "b/c.txt": b"more"})
    disk = tmp_path / "disk"
    disk.mkdir()
    before = disk.stat().st_ino
    moved: list[str] = []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        assert disk in self.parents
        moved.append(target.name)
        return rename(self, target)

    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == disk)
    monkeypatch.setattr(Path, "rename", watched)
    unpack(archive, disk)
    assert moved == ["b", "list.txt"]  # by its files a corpus is known
    assert [(disk / name).read_bytes() for name in ("list.txt", "b/c.txt")] == [b"text", b"more"]
    assert sorted(path.name for path in disk.iterdir()) == ["b", "list.txt"]
    assert disk.stat().st_ino == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "x.tar.gz"]


def test_a_link_inside_stays(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.tar.gz", {"a.txt": b"text"}, link("b.txt", "a.txt"))
    assert (unpack(archive, tmp_path / "out") / "b.txt").read_bytes() == b"text"


def test_a_file_written_through_a_link_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(link("way", "../outside"))
        info = tarfile.TarInfo("way/evil")
        tar.addfile(info)
    (tmp_path / "outside").mkdir()
    with pytest.raises(KwsError, match="refused"):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "outside").iterdir()) == []


def damaged(kind: str, data: bytes) -> bytes:
    return {
        "truncated": data[: len(data) // 2],
        "shorn": data[:-4],
        "flipped": data[:5_000] + bytes([data[5_000] ^ 255]) + data[5_001:],
        "page": b"<html>Sign in to this network</html>",
        "empty": b"",
        "no tar": gzip.compress(os.urandom(9_000)),
    }[kind]


@pytest.mark.parametrize("kind", ["truncated", "shorn", "flipped", "page", "empty", "no tar"])
def test_a_damaged_archive_leaves_nothing(tmp_path: Path, kind: str) -> None:
    archive = packed(tmp_path / "x.tar.gz", {"a": os.urandom(20_000), "b": os.urandom(100)})
    archive.write_bytes(damaged(kind, archive.read_bytes()))
    with pytest.raises(KwsError, match=r"damaged or no \.tar\.gz"):
        unpack(archive, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]


def test_a_member_without_a_possible_name_is_told(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a")
    member.pax_headers = {"path": "a\0b"}
    with pytest.raises(KwsError, match="null byte"):
        unpack(packed(tmp_path / "x.tar.gz", {}, member), tmp_path / "out")


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match=r"none\.tar\.gz.*No such file"):
        unpack(tmp_path / "none.tar.gz", tmp_path / "out")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.tar.gz", {"a": b"new"})
    (tmp_path / "out").mkdir()
    unpack(archive, tmp_path / "out")  # empty is fine
    with pytest.raises(UsageError, match="already holds"):
        unpack(archive, tmp_path / "out")


def test_a_link_that_goes_up_is_named_with_its_member(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.tar.gz", {"a/x.txt": b"x"}, link("b/y.txt", "../a/x.txt"))
    with pytest.raises(KwsError, match=r"member 'b/y.txt' leads out of the folder, or may"):
        unpack(archive, tmp_path / "out")
