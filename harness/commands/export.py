"""``capsize export``: a history in the format of other people's tools.

The file is read and checked whole before anything is written, and appears under its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from checkers import History, HistoryError, formats
from harness.errors import UsageError
from harness.progress import output
from reports.folder import RunFolder

TARGETS = ("edn", "parquet", "jsonl")
STANDARD_OUTPUT = Path("-")


def export_command(path: Path, *, to: str, out: Path | None, force: bool, format_: str | None = None) -> None:
    """Writes the history in the format ``to``, beside its source or where ``out`` says, and says where."""
    source = _source(path)
    if out == STANDARD_OUTPUT and to == "parquet":
        raise UsageError("--out -: Parquet is no text; name a file")
    target = out if out is not None else source.with_suffix(f".{to}")
    if out != STANDARD_OUTPUT:
        _check_target(target, source, force)
    history = _read(source, format_)
    if out == STANDARD_OUTPUT:
        _print(history, to)
        return
    try:
        with _complete_file(target) as temporary:
            _write(history, to, temporary)
    except OSError as error:
        raise UsageError(f"{str(target)!r} cannot be written: {error.strerror or error}") from None
    say = output().print
    for note in history.notes:
        say(f"note: {note}", markup=False, highlight=False)
    say(f"{target}: {len(history):,} operations ({history.format} to {to})", markup=False, highlight=False)


def _source(path: Path) -> Path:
    if path.is_dir():
        history = RunFolder(path).history
        if not history.is_file():
            raise UsageError(f"run {str(path)!r}: it has no history.jsonl; give a history file or the folder of a run")
        return history
    if not path.is_file():
        raise UsageError(f"history {str(path)!r}: no such file; give a history file or the folder of a run")
    return path


def _check_target(target: Path, source: Path, force: bool) -> None:
    if target.is_dir():
        raise UsageError(f"--out {str(target)!r} is a folder; name a file")
    if not target.parent.is_dir():
        raise UsageError(f"--out {str(target)!r}: there is no folder {str(target.parent)!r}; make it first")
    if target.exists() and target.samefile(source):
        raise UsageError(f"{str(target)!r} is the history itself; name another file with --out, or - to print it")
    if target.exists() and not force:
        raise UsageError(f"{str(target)!r} is there already; --force writes over it, --out names another file")


def _read(source: Path, format_: str | None) -> History:
    try:
        return History.read(source, format_)
    except HistoryError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"history {str(source)!r} cannot be read: {error.strerror}") from None


def _lines(history: History, to: str) -> Iterator[bytes]:
    """Event by event from the file, as it says more than the history: places of unknown ends, attempts."""
    read = formats.reader(history.format, history.source)
    return formats.WRITERS[to]([event for _, event in read(history.source, [])])


def _write(history: History, to: str, path: Path) -> None:
    if to == "parquet":
        from checkers.formats import parquet

        parquet.write(history, path)
        return
    with path.open("wb") as file:
        file.writelines(_lines(history, to))


def _print(history: History, to: str) -> None:
    """To standard output; a reader that goes away wants no more of it, and notes go to people."""
    for note in history.notes:
        print(f"note: {note}", file=sys.stderr)
    try:
        sys.stdout.buffer.writelines(_lines(history, to))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        output().on_broken_pipe()


@contextlib.contextmanager
def _complete_file(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its place when all has gone well, and is gone otherwise."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        os.fchmod(handle, 0o666 & ~_umask())
        os.close(handle)
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
