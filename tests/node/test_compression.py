"""Compressed commands: the same results, and nothing that a node could choke on."""

from __future__ import annotations

import random

import zstandard

from node import kv_pb2
from node.durable.compression import COMMAND_BYTES_MAX, pack, unpack
from node.machine import Machine, ResultKind

TEXT = b"the quick brown fox jumps over the lazy dog; " * 1000


def put(value: bytes, *, sequence: int = 1) -> bytes:
    """A write of session 1, as a shell makes it."""
    write = kv_pb2.ExecuteRequest(session=1, sequence=sequence, key="k", put=kv_pb2.Put(value=value))
    return kv_pb2.Command(write=write, stamp_ms=77).SerializeToString()


def machine() -> Machine:
    """Session 1 is open."""
    fresh = Machine()
    fresh.apply(1, kv_pb2.Command(open_session=kv_pb2.OpenSessionRequest()).SerializeToString())
    return fresh


def test_a_machine_does_the_same_with_either_form() -> None:
    """State, time and result, to the last byte."""
    plain, packed = machine(), machine()
    command = pack(put(TEXT), 1000)
    assert len(command) < len(TEXT) / 20
    assert plain.apply(2, put(TEXT)) == packed.apply(2, command)
    assert packed.get("k") == TEXT
    assert (plain.state_hash(), plain.now_ms) == (packed.state_hash(), packed.now_ms)


def test_what_is_small_or_does_not_shrink_stays_as_it_is() -> None:
    """And 0 means never."""
    noise = put(random.Random(1).randbytes(50_000))
    assert pack(put(TEXT), 0) == put(TEXT)
    assert pack(put(TEXT), len(put(TEXT)) + 1) == put(TEXT)
    assert pack(noise, 1000) == noise
    assert len(pack(put(TEXT), len(put(TEXT)))) < len(TEXT)


def test_bytes_that_are_no_compressed_command_are_invalid_on_every_node() -> None:
    """Nothing raises, nothing changes; and nothing is unpacked that would not fit."""
    bomb = zstandard.ZstdCompressor().compress(bytes(COMMAND_BYTES_MAX + 1))
    endless = zstandard.ZstdCompressor().compressobj()
    unsized = endless.compress(bytes(COMMAND_BYTES_MAX + 1)) + endless.flush()
    twice = pack(pack(put(TEXT), 1), 0)
    for packed in (b"", b"no frame", TEXT, bomb, unsized):
        assert unpack(packed) is None
        other = machine()
        before = other.state_hash()
        assert other.apply(2, kv_pb2.Command(zstd=packed).SerializeToString()).kind is ResultKind.INVALID
        assert other.state_hash() == before
    nested = kv_pb2.Command(zstd=zstandard.ZstdCompressor().compress(twice)).SerializeToString()
    assert machine().apply(2, nested).kind is ResultKind.INVALID
