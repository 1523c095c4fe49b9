"""Files are whole or as they were, and damaged ones are named in one sentence."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from kws.errors import KwsError
from kws.files import (
    Arrays,
    below,
    read_json,
    read_metadata,
    read_tensors,
    refuse_unwritable,
    sha256,
    write_bytes,
    write_json,
    write_tensors,
    write_text,
)

ARRAYS: Arrays = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([0.5, -1.0], np.float16),
    "count": np.array(7, np.int64),
    "none": np.zeros(0, np.float32),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
}


def test_tensors_come_back_equal(tmp_path: Path) -> None:
    """With their types and shapes: a number without dimensions, and none at all, too."""
    path = tmp_path / "new" / "folder" / "x.safetensors"
    write_tensors(path, ARRAYS, {"who": "北京"})
    found = read_tensors(path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
    assert read_metadata(path) == {"who": "北京"}


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match="File name too long"):
        write_bytes(tmp_path / ("x" * 5_000), b"x")
    for folder in (tmp_path, Path(".")):
        with pytest.raises(KwsError, match="it is a folder; name a file"):
            write_bytes(folder, b"x")


def test_equal_tensors_are_equal_bytes(tmp_path: Path) -> None:
    """A digest names what a file holds."""
    for name in ("a", "b"):
        write_tensors(tmp_path / name, ARRAYS)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    write_tensors(tmp_path / "b", ARRAYS | {"count": np.array(8)})
    assert sha256(tmp_path / "a") != sha256(tmp_path / "b")


def test_a_folder_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path)
    refuse_unwritable(tmp_path / "not" / "yet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file", "file/folder", "a" * 300])
def test_a_folder_that_cannot_be_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KwsError, match=rf"cannot write in .*{name} \(.*\); name another folder"):
        refuse_unwritable(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_json_keeps_every_script_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"words": ["نعم", "是"], "score": 0.1})
    assert "نعم" in (tmp_path / "x.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "x.json") == {"words": ["نعم", "是"], "score": 0.1}


def test_two_may_write_one_file_at_once(tmp_path: Path) -> None:
    """Threads of one program too: one of them is the last."""
    path = tmp_path / "a.json"
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda number: write_json(path, {"a": number}), range(200)))
    assert read_json(path)["a"] in range(200)
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_leaves_one_file(tmp_path: Path) -> None:
    for text in ("old", "new"):
        write_text(tmp_path / "x", text)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x", "new")]


def test_who_interrupts_finds_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes(tmp_path / "x", b"old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "x", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]


def test_what_a_link_leads_to_is_replaced_and_stays_as_private_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own, link = tmp_path / "own" / "manifest.csv", tmp_path / "manifest.csv"
    own.write_text("old")
    own.chmod(0o600)
    link.symlink_to(own)
    write_text(link, "new")
    assert link.is_symlink()
    assert (own.read_text(), own.stat().st_mode & 0o777) == ("new", 0o600)
    assert [path.name for path in own.parent.iterdir()] == ["manifest.csv"]


def test_readers_never_see_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is given only to what has reached the disk whole."""
    write_bytes(tmp_path / "x", b"old")
    sync, seen = os.fsync, []

    def look(number: int) -> None:
        seen.append((tmp_path / "x").read_bytes())
        sync(number)

    monkeypatch.setattr(os, "fsync", look)
    write_bytes(tmp_path / "x", b"new" * 1_000)
    assert seen == [b"old"]
    assert (tmp_path / "x").read_bytes() == b"new" * 1_000


FULL = """
import resource, sys
from pathlib import Path
from kws.errors import KwsError
from kws.files import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
path = Path(sys.argv[1])
write_bytes(path.with_name("small"), b"s" * 1_000)
try:
    write_bytes(path, b"new" * 1_000)
except KwsError as error:
    print(error)
"""


def test_a_full_disk_keeps_the_old_file_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        f"cannot write {path}: the disk is full; free some space and run the same command again\n"
    )
    assert path.read_bytes() == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["small", "x"]


def test_a_name_that_cannot_be_made_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KwsError, match=r"cannot write .*file/below/x: .*Not a directory"):
        write_bytes(tmp_path / "file" / "below" / "x", b"new")
    (tmp_path / "folder").mkdir()
    with pytest.raises(KwsError, match=r"cannot write .*folder: it is a folder; name a file"):
        write_bytes(tmp_path / "folder", b"new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


def test_every_truncation_of_a_file_of_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, ARRAYS, {"who": "me"})
    whole = path.read_bytes()
    for length in {0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:length])
        for read in (read_tensors, read_metadata):
            with pytest.raises(KwsError, match=r"x\.safetensors is truncated or no safetensors"):
                read(path)


def header(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF" + bytes(40),
        b"\x80\x04\x95 a pickle",
        header("no json"),
        header('{"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}') + bytes(15),
        header('{"x": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}}') + bytes(16),
        header('{"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}') + bytes(8),
        header('{"x": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}') + bytes(8),
        (2**63).to_bytes(8, "little") + b"{}",
        save(ARRAYS) + b"more",
        header(f'{{"x": {{"dtype": "F32", "shape": [0, {2**62}], "data_offsets": [0, 0]}}}}'),
        header(f'{{"x": {{"dtype": "F32", "shape": {[1] * 99 + [0]}, "data_offsets": [0, 0]}}}}'),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(KwsError, match=r"x\.safetensors is truncated or no safetensors"):
        read_tensors(path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\xff\xfe", '{"a": 1} more', "[" * 100_000])
def test_damaged_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(KwsError, match=r"x\.json .*make it again"):
        read_json(tmp_path / "x.json")


def test_missing_files_are_named_with_their_folder(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "x"
    for read in (read_json, read_tensors, read_metadata, sha256):
        with pytest.raises(KwsError, match=f"{path} does not exist; is {path.parent} the right"):
            read(path)


def test_a_file_without_metadata_has_none(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x", ARRAYS)
    assert read_metadata(tmp_path / "x") == {}


def test_metadata_is_read_from_a_file_of_the_format(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(save(ARRAYS, {"history": json.dumps([1, 2])}))
    assert json.loads(read_metadata(tmp_path / "x")["history"]) == [1, 2]


def test_names_of_files_that_are_no_text_are_written_and_read_again(tmp_path: Path) -> None:
    """In JSON as it writes them itself."""
    odd = os.fsdecode(b"d\xe9j\xc3\xa0")
    write_json(tmp_path / "a.json", {odd: odd})
    assert read_json(tmp_path / "a.json") == {odd: odd}
    write_text(tmp_path / "a.txt", odd)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "d\\udce9jà"


def test_files_behind_links_to_folders_are_below_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "b.txt").write_text("b")
    (tmp_path / "here" / "own").mkdir(parents=True)
    (tmp_path / "here" / "own" / "a.txt").write_text("a")
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "own" / "circle").symlink_to(tmp_path / "here")
    found = [path.relative_to(tmp_path / "here").as_posix() for path in below(tmp_path / "here")]
    assert found == ["linked/deep/b.txt", "own/a.txt"]


def test_another_folder_is_told_of_where_a_file_is_not_there(tmp_path: Path) -> None:
    """A base given for an adapter, or a folder of adapters for one of them."""
    file = tmp_path / "adapter_config.json"
    (tmp_path / "base_config.json").touch()
    with pytest.raises(KwsError, match=r"right folder\? It has base_config\.json$"):
        read_json(file)
    (tmp_path / "cmn").mkdir()
    (tmp_path / "cmn" / file.name).touch()
    with pytest.raises(KwsError, match=f"right folder. {tmp_path / 'cmn'} has one$"):
        read_json(file)
