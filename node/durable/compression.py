"""Large commands are compressed before they go into the log (``--compress-bytes``), once, by the leader.

So everything that is done with an entry is done with fewer bytes: it is written by every node, sent to each follower,
and read back at a restart. Nothing but the state machine ever unpacks it. What a node can read does not depend on its
options, so nodes of one cluster may differ in them.

Zstandard at level 1: a fifth to two fifths of text and JSON. What does not shrink by a tenth stays as it is, for it
would only cost the time to unpack it. docs/node.md tells what was measured, and when it pays.
"""

from __future__ import annotations

import zstandard
from google.protobuf.message import DecodeError

from node import kv_pb2

LEVEL = 1
WORTH = 0.9
"""The largest share of its bytes that a command may keep."""
COMMAND_BYTES_MAX = 8 << 20
"""What a compressed command may unpack to: far more than any valid one, far less than a node's memory."""

_compressor = zstandard.ZstdCompressor(level=LEVEL)
_decompressor = zstandard.ZstdDecompressor()


def pack(command: bytes, bytes_min: int) -> bytes:
    """A command as it shall stand in the log: compressed if it has so many bytes (0: never) and that is worth it."""
    if not bytes_min or len(command) < bytes_min:
        return command
    packed = _compressor.compress(command)
    return kv_pb2.Command(zstd=packed).SerializeToString() if len(packed) < WORTH * len(command) else command


def unpack(packed: bytes) -> kv_pb2.Command | None:
    """The command that was compressed; None if these bytes are none, on every node alike."""
    try:
        if zstandard.frame_content_size(packed) > COMMAND_BYTES_MAX:
            return None
        return kv_pb2.Command.FromString(_decompressor.decompress(packed, max_output_size=COMMAND_BYTES_MAX))
    except (zstandard.ZstdError, DecodeError):
        return None
