"""The write-ahead log: what was synced comes back, a torn tail is cut, anything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.durable.wal import Wal, WalCorruptError, decode_frame, encode_frame

PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=12)
FILES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def written(directory: Path, payloads: list[bytes], *, segment_bytes: int = 200, seal: bool = False) -> None:
    wal = Wal(directory, segment_bytes=segment_bytes)
    wal.recover()
    for payload in payloads:
        if wal.full:
            wal.rotate()
        wal.append(payload)
    if seal:
        wal.seal()
    wal.close()


def recovered(directory: Path) -> list[bytes]:
    wal = Wal(directory)
    payloads = [frame.payload for frame in wal.recover()]
    wal.close()
    return payloads


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.wal"))


@FILES
@given(payloads=PAYLOADS, more=PAYLOADS, seal=st.booleans())
def test_what_was_appended_comes_back_and_can_be_continued(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], more: list[bytes], seal: bool
) -> None:
    """Reopening gives every frame in order, over any number of segments, and appending goes on behind them."""
    directory = tmp_path_factory.mktemp("wal")
    written(directory, payloads, seal=seal)
    assert recovered(directory) == payloads
    written(directory, more, seal=seal)
    assert recovered(directory) == payloads + more


@settings(FILES, max_examples=10)
@given(payloads=PAYLOADS, seal=st.booleans())
def test_a_tail_cut_at_any_byte_loses_the_last_frame_only(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], seal: bool
) -> None:
    """Whatever part of the last frame reached the disk, recovery is all frames before it, and the log can be used."""
    directory = tmp_path_factory.mktemp("wal")
    written(directory, payloads, seal=seal)
    last = segments(directory)[-1]
    whole = last.read_bytes()
    end = len(whole) - (12 if seal else 0)
    start = end - 12 - len(payloads[-1])
    for cut in range(start, end):
        last.write_bytes(whole[:cut])
        assert recovered(directory) == payloads[:-1]
        assert last.stat().st_size == start
    written(directory, [b"again"])
    assert recovered(directory) == [*payloads[:-1], b"again"]


def test_zeros_behind_the_tail_are_cut(tmp_path: Path) -> None:
    """A file system that has grown the file before its data arrived leaves zeros: torn, not damaged."""
    written(tmp_path, [b"one", b"two"])
    last = segments(tmp_path)[-1]
    last.write_bytes(last.read_bytes() + bytes(5000))
    wal = Wal(tmp_path)
    assert [frame.payload for frame in wal.recover()] == [b"one", b"two"]
    assert [(cut.path, cut.length) for cut in wal.cuts] == [(last, 5000)]
    wal.close()


def test_any_flipped_byte_before_the_last_frame_is_refused(tmp_path: Path) -> None:
    """A frame with a valid one behind it was synced: its damage is an error that names file and offset, wherever it
    is.
    """
    payloads = [b"first", b"second", b"third", b"last"]
    written(tmp_path, payloads, segment_bytes=40)
    files = segments(tmp_path)
    assert len(files) > 1
    for file in files:
        whole = file.read_bytes()
        end = len(whole) - (12 + len(payloads[-1]) if file == files[-1] else 0)
        for place in range(end):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            with pytest.raises(WalCorruptError, match=rf"{file.name}.*offset \d+"):
                recovered(tmp_path)
        file.write_bytes(whole)
    assert recovered(tmp_path) == payloads


def test_rot_of_the_last_frame_looks_torn_unless_it_was_sealed(tmp_path: Path) -> None:
    """The stated limit of the format, and how the seal narrows it."""
    for name, seal in (("open", False), ("sealed", True)):
        directory = tmp_path / name
        written(directory, [b"one", b"two"], seal=seal)
        last = segments(directory)[-1]
        data = bytearray(last.read_bytes())
        data[data.index(b"two")] ^= 1
        last.write_bytes(data)
        if seal:
            with pytest.raises(WalCorruptError):
                recovered(directory)
        else:
            assert recovered(directory) == [b"one"]


def test_a_torn_write_over_a_seal_is_cut(tmp_path: Path) -> None:
    """The next frame overwrites the seal; any part of it that reached the disk is recognised as torn."""
    written(tmp_path, [b"one"], seal=True)
    last = segments(tmp_path)[-1]
    sealed = last.read_bytes()
    place = len(sealed) - 12
    frame = encode_frame(1, place, b"never finished")
    for reached in range(len(frame)):
        mixed = frame[:reached] + sealed[place + reached :]
        last.write_bytes(sealed[:place] + mixed)
        assert recovered(tmp_path) == [b"one"]


def test_a_segment_that_another_one_follows_has_a_mark_of_its_end(tmp_path: Path) -> None:
    """Cut off between two frames, or just before the mark, it is refused; a crash before the next segment has a frame
    is none of that.
    """
    wal = Wal(tmp_path)
    wal.recover()
    wal.rotate()
    wal.append(b"one")
    wal.seal()
    wal.append(b"two")
    wal.rotate()
    wal.close()
    first, second = segments(tmp_path)
    assert recovered(tmp_path) == [b"one", b"two"]
    second.unlink()
    assert recovered(tmp_path) == [b"one", b"two"]
    second.touch()
    whole = first.read_bytes()
    for end in (15, 30):
        first.write_bytes(whole[:end])
        with pytest.raises(WalCorruptError, match="cut short"):
            recovered(tmp_path)


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    """Segment numbers have no holes."""
    written(tmp_path, [b"x" * 50] * 6, segment_bytes=100)
    segments(tmp_path)[1].unlink()
    with pytest.raises(WalCorruptError, match="is missing"):
        recovered(tmp_path)


def test_a_frame_is_valid_only_where_it_was_written() -> None:
    """Its place is part of its checksum: another offset or another segment gives nothing."""
    frame = encode_frame(3, 100, b"payload")
    assert decode_frame(b"." * 100 + frame, 3, 100) == b"payload"
    assert decode_frame(b"." * 101 + frame, 3, 101) is None
    assert decode_frame(b"." * 100 + frame, 4, 100) is None


def test_old_segments_go_and_the_rest_stays_whole(tmp_path: Path) -> None:
    """Removing a prefix of the segments leaves a log that recovers."""
    written(tmp_path, [b"a" * 100, b"b" * 100, b"c" * 100], segment_bytes=50)
    wal = Wal(tmp_path)
    wal.recover()
    wal.remove_before(3)
    wal.close()
    assert recovered(tmp_path) == [b"c" * 100]


def test_empty_and_oversized_frames_are_refused(tmp_path: Path) -> None:
    """An empty payload is a seal's, so nobody may append one."""
    wal = Wal(tmp_path)
    wal.recover()
    wal.rotate()
    with pytest.raises(ValueError, match="not 0"):
        wal.append(b"")
    wal.close()
