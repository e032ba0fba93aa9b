"""A file system of ours, really mounted: ordinary programs work on it, and what is asked of it happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import mmap
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.fakes.cluster import FakeUndoList
from faults.filesystem.rules import OPERATIONS, Rule
from faults.needs import DiskState, HelperError, Loss
from harness.host.tools import run_tool
from harness.substrates.files import MountedFiles, why_refused

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="outside namespaces only root mounts"),
    pytest.mark.skipif(why_refused() is not None, reason="no /dev/fuse here"),
]

LONG_S = 60.0
"""Longer than any test waits."""


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[MountedFiles]:
    undo = FakeUndoList()
    made = MountedFiles(folder=tmp_path / "n1", undo_list=undo)
    await made.make()
    try:
        yield made
    finally:
        await made.remove(tmp_path / "kept")
        await made.remove(tmp_path / "kept")
        assert not os.path.ismount(made.mount)
        assert list(made.folder.iterdir()) == []
        assert undo.entries == {}


def sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def program(text: str, *arguments: object, session: bool = False) -> subprocess.Popen[bytes]:
    """A Python program that says a line when it is ready."""
    return subprocess.Popen(
        [sys.executable, "-S", "-c", text, *map(str, arguments)], stdout=subprocess.PIPE, start_new_session=session
    )


async def waiting(files: MountedFiles, count: int = 1) -> None:
    """Until so many operations wait."""
    while (await files._ask({"do": "status"}))["waiting"] < count:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.01)


async def test_what_programs_do_with_files_works(files: MountedFiles) -> None:
    """Names, links, modes, holes, locks, mappings, direct writes, and a file that is used after it was removed."""
    data = files.data
    (data / "a").write_bytes(b"x" * 300_000)
    os.link(data / "a", data / "b")
    os.symlink("b", data / "c")
    (data / "folder").mkdir(mode=0o750)
    os.rename(data / "a", data / "folder" / "a")
    assert sorted(path.name for path in data.iterdir()) == ["b", "c", "folder"]
    assert (data / "c").read_bytes() == (data / "folder" / "a").read_bytes() == b"x" * 300_000
    assert (data / "b").stat().st_nlink == 2
    assert (data / "folder").stat().st_mode & 0o777 == 0o750
    with (data / "used").open("w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX, 10)
        with (data / "used").open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
        with mmap.mmap(file.fileno(), 0) as mapped:
            os.pwrite(file.fileno(), b"written", 5000)
            assert mapped[5000:5007] == b"written"
            mapped[0:6] = b"mapped"
            mapped.flush()
        assert os.pread(file.fileno(), 6, 0) == b"mapped"
        (data / "used").unlink()
        os.pwrite(file.fileno(), b"still", 7000)
        assert os.pread(file.fileno(), 5, 7000) == b"still"
        assert os.fstat(file.fileno()).st_size == 1 << 20
    direct = os.open(data / "direct", os.O_CREAT | os.O_WRONLY | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as page:
        page.write(b"d" * 4096)
        assert os.write(direct, page) == 4096
    os.close(direct)
    assert (data / "direct").read_bytes() == b"d" * 4096
    for number in range(300):
        (data / "folder" / f"file {number}").touch()
    assert len(list((data / "folder").iterdir())) == 301
    with pytest.raises(OSError, match="not empty"):
        (data / "folder").rmdir()


@pytest.mark.parametrize(
    ("journal", "synchronous", "kept"), [("DELETE", "EXTRA", 1), ("WAL", "FULL", 1), ("DELETE", "FULL", 0)]
)
async def test_a_database_keeps_what_it_promised(
    files: MountedFiles, journal: str, synchronous: str, kept: int
) -> None:
    """SQLite's own words (sqlite.org/pragma.html#pragma_synchronous): where the journal is deleted, FULL does not sync
    the folder, and a power failure right after a commit may take it back. EXTRA does. Nothing is ever broken.
    """
    text = """
import os, signal, sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute(f"pragma journal_mode={sys.argv[2]}")
base.execute(f"pragma synchronous={sys.argv[3]}")
base.execute("insert into t values ('committed')")
base.execute("begin")
base.execute("insert into t values ('not committed')")
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = files.data / "base"
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.execute("create table t (word)")
    sync_folder(files.data)
    with program(text, path, journal, synchronous) as writer:
        assert await asyncio.to_thread(writer.wait, 20) == -signal.SIGKILL
    assert await files.lose_unsynced() == Loss(synced_kept=True, unsynced_lost=True)
    with contextlib.closing(sqlite3.connect(path)) as base:
        assert base.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert base.execute("select word from t").fetchall() == [("committed",)] * kept


async def test_what_was_not_synced_is_lost_and_files_change_under_the_reader(files: MountedFiles) -> None:
    """Sizes and names that the kernel has seen before are not believed any more."""
    log = files.data / "log"
    with log.open("wb", buffering=0) as file:
        file.write(b"synced;")
        os.fsync(file.fileno())
        sync_folder(files.data)
        file.write(b"not synced;")
        os.rename(log, files.data / "renamed")
    assert (files.data / "renamed").stat().st_size == 18
    await files.lose_unsynced()
    assert log.read_bytes() == b"synced;"
    assert [path.name for path in files.data.iterdir()] == ["log"]


async def test_a_slow_sync_holds_up_nobody_else_and_ends_with_its_caller(files: MountedFiles) -> None:
    """While one file's sync waits, others are synced and read; who waits can be killed at once."""
    (files.data / "slow").touch()
    await files.lay("test", [Rule(operations=["fsync"], path="slow", delay_s=LONG_S)])
    text = "import os, sys; fd = os.open(sys.argv[1], os.O_RDWR); os.write(fd, b'x'); os.fsync(fd)"
    with program(text, files.data / "slow") as syncing:
        await waiting(files)
        with (files.data / "other").open("wb", buffering=0) as other:
            other.write(b"quick")
            os.fsync(other.fileno())
        assert (files.data / "other").read_bytes() == b"quick"
        os.kill(syncing.pid, signal.SIGURG)  # ignored by default: no reason to give up
        await asyncio.sleep(0.05)
        assert syncing.poll() is None
        syncing.kill()
        assert await asyncio.to_thread(syncing.wait, 20) == -signal.SIGKILL
    await files.lay("test", [])


async def test_errors_reach_the_program_and_end(files: MountedFiles) -> None:
    """By path and operation; a bare process can end them, as often as it likes, mounted or not."""
    rules = [
        Rule(operations=["write"], path="*.wal", action="fail", error=errno.EIO),
        Rule(operations=["write"], path="short", action="short"),
        Rule(operations=["rename"], path="kept", action="fail", error=errno.EROFS),
    ]
    await files.lay("test", rules)
    wal, other = files.data / "1.wal", files.data / "short"
    with wal.open("wb", buffering=0) as file, pytest.raises(OSError, match="Input/output"):
        file.write(b"x")
    with other.open("wb", buffering=0) as file:
        assert 0 < (file.write(b"x" * 1000) or 0) < 1000
    with pytest.raises(OSError, match="Read-only"):
        os.rename(other, files.data / "kept")
    tallies = (await files.status()).tallies["test"]
    assert [tally.hit for tally in tallies] == [1, 1, 1]
    heal = files.heal_undo().arguments["argv"]
    assert [(await run_tool(heal)).status for _ in range(2)] == [0, 0]
    wal.write_bytes(b"x")
    os.rename(other, files.data / "kept")
    await files.remove(files.folder / "kept")
    assert (await run_tool(heal)).status == 0


@pytest.mark.parametrize(("side", "kept"), [("before", b"first"), ("after", b"firstsecond")])
async def test_a_crash_takes_the_whole_tree_at_that_operation(files: MountedFiles, side: str, kept: bytes) -> None:
    """Parent and child are dead by SIGKILL; the operation has taken effect, or not; nothing has after it."""
    await files.lay("test", [Rule(operations=["write"], path="log", action="crash", number=2, side=side)])
    text = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
print(child.pid, flush=True)
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
for word in (b"first", b"second", b"third"):
    os.write(fd, word)
"""
    with program(text, files.data / "log", session=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert await asyncio.to_thread(parent.wait, 20) == -signal.SIGKILL
    crash = (await files.status()).crash
    assert crash is not None
    assert {parent.pid, child} <= set(crash["killed"])
    with pytest.raises(OSError, match="Input/output"):
        (files.data / "log").read_bytes()
    await files.thaw()
    assert (files.data / "log").read_bytes() == kept


async def test_a_torn_write_leaves_whole_sectors(files: MountedFiles) -> None:
    """What was written to the file before is kept, a part of the write too, and what else was not synced is lost."""
    (files.data / "log").touch()
    sync_folder(files.data)
    rule = Rule(operations=["write"], path="log", action="crash", number=1, side="torn", power=True)
    await files.lay("test", [rule])
    text = """
import os, sys
open(sys.argv[1] + ".other", "w").write("lost")
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
os.write(fd, b"a" * 300)
os.write(fd, b"b" * 2000)
"""
    with program(text, files.data / "log", session=True) as writer:
        assert await asyncio.to_thread(writer.wait, 20) == -signal.SIGKILL
    await files.thaw()
    content = (files.data / "log").read_bytes()
    assert content.startswith(b"a" * 300 + b"b")
    assert len(content) in (512, 1024, 1536, 2048)
    assert [path.name for path in files.data.iterdir()] == ["log"]


async def test_it_plays_a_whole_disk(files: MountedFiles) -> None:
    """Full, read-only, dead, and working again: the other implementation of a node's disk."""
    assert await files.state() is DiskState.WORKS
    for become, end, state in (
        (files.fill, files.free, DiskState.FULL),
        (files.make_read_only, files.revive, DiskState.READ_ONLY),
        (files.die, files.revive, DiskState.DEAD),
    ):
        await become()
        assert await files.state() is state
        with pytest.raises(OSError, match=r"space|Read-only|Input/output"):
            (files.data / "new").write_bytes(b"x")
        await end()
        assert await files.state() is DiskState.WORKS
        (files.data / "new").write_bytes(b"x")
        (files.data / "new").unlink()


async def test_every_operation_can_be_probed(files: MountedFiles) -> None:
    """Nothing is wrong with any; then everything is."""
    assert {attempt.error for attempt in (await files.probe(OPERATIONS)).values()} == {None}
    await files.lay("test", [Rule(operations=OPERATIONS, action="fail", error=errno.EIO, probability=1e-9)])
    assert {attempt.error for attempt in (await files.probe(OPERATIONS)).values()} == {"EIO"}
    await files.lay("test", [])
    assert {attempt.error for attempt in (await files.probe(OPERATIONS)).values()} == {None}


async def test_rules_end_with_who_commanded_it_and_the_disk_works_on(files: MountedFiles) -> None:
    """A node that outlives the controller for a moment meets no fault that nobody heals."""
    await files.lay("test", [Rule(operations=["write"], action="fail", error=errno.EIO)])
    assert files._helper is not None
    files._helper._writer.close()
    for _ in range(200):
        try:
            (files.data / "a").write_bytes(b"x")
            break
        except OSError:
            await asyncio.sleep(0.01)
    assert (files.data / "a").read_bytes() == b"x"
    with pytest.raises(HelperError):
        await files.status()
