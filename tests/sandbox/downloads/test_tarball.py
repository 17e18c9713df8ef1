"""Tarballs that are the same when made again."""

import os
import tarfile
from pathlib import Path

from sandbox.downloads.tarball import write_tarball


def _tree(directory: Path, mtime: int, mode: int) -> Path:
    (directory / "bin").mkdir(parents=True)
    program = directory / "bin" / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(mode)
    (directory / "notes").write_text("hello\n")
    (directory / "bin" / "alias").symlink_to("program")
    os.utime(program, (mtime, mtime))
    return directory


def test_the_same_content_gives_the_same_bytes_whenever_it_was_written(tmp_path: Path) -> None:
    first = _tree(tmp_path / "first", mtime=1, mode=0o755)
    second = _tree(tmp_path / "second", mtime=2_000_000_000, mode=0o700)
    for directory in (first, second):
        write_tarball(directory, tmp_path / f"{directory.name}.tar.gz")
    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second.tar.gz").read_bytes()


def test_programs_stay_executable_and_links_stay_links(tmp_path: Path) -> None:
    write_tarball(_tree(tmp_path / "tree", mtime=1, mode=0o755), tmp_path / "tree.tar.gz")
    with tarfile.open(tmp_path / "tree.tar.gz") as tar:
        members = {member.name: member for member in tar}
    assert sorted(members) == ["bin", "bin/alias", "bin/program", "notes"]
    assert members["bin/program"].mode == 0o755
    assert members["notes"].mode == 0o644
    assert members["bin/alias"].linkname == "program"
    assert {(member.uid, member.mtime) for member in members.values()} == {(0, 0)}
