from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from app.cli.search import find_tiles


def touch(root: Path, *names: str) -> Path:
    """Create files, with the folders above them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def found_in(root: Path, *named: str) -> dict[str, str | None]:
    """Errors by path below `root`, in the order found."""
    search = find_tiles([root / name for name in named or (".",)])
    return {str(one.path.relative_to(root)): one.error for one in search.found}


def skipped_in(root: Path) -> str | None:
    return find_tiles([root]).skipped.sentence()


@pytest.mark.parametrize(
    "name",
    ["1.jpg", "1.JPG", "1.jpeg", "1.Jpe", "1.jfif", "1.JFIF", "1.png", "1.tif", "1.TIFF", "1.webp"],
)
def test_search_finds_every_suffix_of_a_tile(tmp_path: Path, name: str) -> None:
    assert list(found_in(touch(tmp_path, name))) == [name]


def test_search_orders_by_path(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.jpg", "b/10.jpg", "a-1.jpg", "a/z/1.jpg", "a/b.jpg", "c.jpg")
    expected = ["a/b.jpg", "a/z/1.jpg", "a-1.jpg", "b/10.jpg", "b/2.jpg", "c.jpg"]
    assert list(found_in(tmp_path)) == expected


def test_search_follows_a_linked_folder(tmp_path: Path) -> None:
    touch(tmp_path, "d/1.jpg", "real/2.jpg")
    (tmp_path / "d/case-4").symlink_to("../real")
    assert list(found_in(tmp_path, "d")) == ["d/1.jpg", "d/case-4/2.jpg"]


def test_search_enters_each_folder_once(tmp_path: Path) -> None:
    touch(tmp_path, "d/z/1.jpg", "real/2.jpg", "real/deep/3.jpg")
    (tmp_path / "d/a").symlink_to("z")  # a file keeps the name of its real folder
    (tmp_path / "d/one").symlink_to("../real")
    (tmp_path / "d/two").symlink_to("../real/deep")
    (tmp_path / "d/z/self").symlink_to(".")
    (tmp_path / "real/back").symlink_to("../d")
    expected = ["d/one/2.jpg", "d/one/deep/3.jpg", "d/z/1.jpg"]
    assert list(found_in(tmp_path, "d")) == expected


def test_search_does_not_leave_a_folder_upwards(tmp_path: Path) -> None:
    touch(tmp_path, "d/1.jpg", "outside.jpg")
    (tmp_path / "d/up").symlink_to("..")
    (tmp_path / "d/root").symlink_to("/")
    assert list(found_in(tmp_path, "d")) == ["d/1.jpg"]
    assert skipped_in(tmp_path / "d") == "Skipped 2 links to enclosing folders."


def test_search_lists_a_file_once_however_it_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "d/1.jpg", "d/2.jpg")
    (tmp_path / "e").symlink_to("d")
    for named in (("d/1.jpg", "d"), ("d", "d/1.jpg"), ("d", "d/"), ("d", "e"), ("d", "e/1.jpg")):
        assert sorted(found_in(tmp_path, *named)) == ["d/1.jpg", "d/2.jpg"], named
    assert list(found_in(tmp_path, "d/2.jpg", "d/1.jpg", "d/../d/2.jpg")) == ["d/2.jpg", "d/1.jpg"]


def test_search_lists_links_to_one_file_each(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg")
    (tmp_path / "2.jpg").symlink_to("1.jpg")
    assert list(found_in(tmp_path)) == ["1.jpg", "2.jpg"]


def test_search_reports_dead_links(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg")
    (tmp_path / "2.jpg").symlink_to(".git/annex/objects/not-fetched")
    (tmp_path / "case-4").symlink_to("../not-mounted")
    (tmp_path / "3.jpg").symlink_to("3.jpg")
    (tmp_path / "notes.txt").symlink_to("nowhere")
    assert found_in(tmp_path) == {
        "1.jpg": None,
        "2.jpg": "The link leads nowhere: .git/annex/objects/not-fetched does not exist.",
        "3.jpg": "It cannot be read: Too many levels of symbolic links.",
        "case-4": "The link leads nowhere: ../not-mounted does not exist.",
    }
    assert skipped_in(tmp_path) == "Skipped 1 dead link."
    assert found_in(tmp_path, "2.jpg")["2.jpg"] is not None


def test_search_reports_names_that_cannot_be(tmp_path: Path) -> None:
    long = "x" * 300 + ".jpg"
    assert found_in(tmp_path, long) == {long: "It cannot be read: File name too long."}
    (nowhere,) = find_tiles([tmp_path / "nowhere"]).found
    assert nowhere.is_missing
    assert nowhere.error == "There is no such file or folder."


def test_search_survives_a_path_longer_than_the_system_allows(tmp_path: Path) -> None:
    start, depth = Path.cwd(), 30
    try:
        os.chdir(tmp_path)
        for _ in range(depth):
            Path("f" * 200).mkdir()
            os.chdir("f" * 200)
            Path("1.jpg").write_bytes(b"")
    finally:
        os.chdir(start)
    errors = list(found_in(tmp_path).values())
    assert 10 < errors.count(None) < depth
    assert "The folder cannot be searched: File name too long." in errors


def test_search_never_opens_what_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # the path of a socket is at most 108 bytes
        listener.bind("socket.png")
    assert list(found_in(tmp_path)) == ["1.jpg"]
    assert skipped_in(tmp_path) == "Skipped 3 pipes, sockets or devices."


def test_search_leaves_out_hidden_folders_unless_they_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", ".git/annex/objects/2.jpg")
    assert list(found_in(tmp_path)) == ["1.jpg"]
    assert skipped_in(tmp_path) == "Skipped 1 hidden folder."
    assert list(found_in(tmp_path, ".git")) == [".git/annex/objects/2.jpg"]


def test_search_leaves_out_the_folder_for_the_output(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "maps/1.jpg.png")
    search = find_tiles([tmp_path], leave_out=tmp_path / "maps")
    assert [one.path.name for one in search.found] == ["1.jpg"]


def test_search_finds_names_of_any_bytes(tmp_path: Path) -> None:
    for name in (b"caf\xe9.jpg", b"two\nlines.png", "切片.jpg".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"")
    assert len(found_in(tmp_path)) == 3
