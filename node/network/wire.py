"""Core messages as protobuf, and back. One pair of functions a message; the tables below are the whole
protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import DecodeError

from node import peer_pb2
from node.durable.entries import decode_entries, encode_entries
from node.durable.snapshots import snapshot_from_proto, snapshot_to_proto
from node.network.frames import WireError
from node.raft.messages import (
    AppendEntries,
    AppendReply,
    InstallSnapshot,
    Message,
    ReadReply,
    ReadRequest,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)

_Proto = peer_pb2.PeerMessage


def _put_request_vote(message: RequestVote, to: _Proto) -> None:
    to.request_vote.last_index = message.last_index
    to.request_vote.last_term = message.last_term
    to.request_vote.pre = message.pre
    to.request_vote.transfer = message.transfer


def _put_vote_reply(message: VoteReply, to: _Proto) -> None:
    to.vote_reply.granted = message.granted
    to.vote_reply.pre = message.pre


def _put_append_entries(message: AppendEntries, to: _Proto) -> None:
    to.append_entries.MergeFrom(
        peer_pb2.AppendEntries(
            prev_index=message.prev_index,
            prev_term=message.prev_term,
            entries=encode_entries(message.entries),
            commit=message.commit,
            read_round=message.read_round,
            patience_ns=message.patience_ns,
        )
    )


def _put_append_reply(message: AppendReply, to: _Proto) -> None:
    reply = to.append_reply
    reply.success = message.success
    reply.match = message.match
    reply.refused_index = message.refused_index
    reply.conflict_index = message.conflict_index
    reply.conflict_term = message.conflict_term
    reply.read_round = message.read_round
    reply.fitness = message.fitness


def _put_install_snapshot(message: InstallSnapshot, to: _Proto) -> None:
    to.install_snapshot.snapshot.CopyFrom(snapshot_to_proto(message.snapshot))
    to.install_snapshot.offset = message.offset
    to.install_snapshot.data = message.data
    to.install_snapshot.done = message.done


def _put_snapshot_reply(message: SnapshotReply, to: _Proto) -> None:
    to.snapshot_reply.index = message.index
    to.snapshot_reply.next_offset = message.next_offset
    to.snapshot_reply.done = message.done


def _put_timeout_now(message: TimeoutNow, to: _Proto) -> None:  # noqa: ARG001
    to.timeout_now.SetInParent()


def _put_read_request(message: ReadRequest, to: _Proto) -> None:
    to.read_request.token = message.token


def _put_read_reply(message: ReadReply, to: _Proto) -> None:
    to.read_reply.token = message.token
    if message.index is not None:
        to.read_reply.index = message.index


def _get_request_vote(proto: _Proto) -> Message:
    body = proto.request_vote
    return RequestVote(
        source=proto.source,
        target=proto.target,
        term=proto.term,
        last_index=body.last_index,
        last_term=body.last_term,
        pre=body.pre,
        transfer=body.transfer,
    )


def _get_vote_reply(proto: _Proto) -> Message:
    body = proto.vote_reply
    return VoteReply(source=proto.source, target=proto.target, term=proto.term, granted=body.granted, pre=body.pre)


def _get_append_entries(proto: _Proto) -> Message:
    body = proto.append_entries
    return AppendEntries(
        source=proto.source,
        target=proto.target,
        term=proto.term,
        prev_index=body.prev_index,
        prev_term=body.prev_term,
        entries=decode_entries(body.entries),
        commit=body.commit,
        read_round=body.read_round,
        patience_ns=body.patience_ns,
    )


def _get_append_reply(proto: _Proto) -> Message:
    body = proto.append_reply
    return AppendReply(
        source=proto.source,
        target=proto.target,
        term=proto.term,
        success=body.success,
        match=body.match,
        refused_index=body.refused_index,
        conflict_index=body.conflict_index,
        conflict_term=body.conflict_term,
        read_round=body.read_round,
        fitness=body.fitness,
    )


def _get_install_snapshot(proto: _Proto) -> Message:
    body = proto.install_snapshot
    return InstallSnapshot(
        source=proto.source,
        target=proto.target,
        term=proto.term,
        snapshot=snapshot_from_proto(body.snapshot),
        offset=body.offset,
        data=body.data,
        done=body.done,
    )


def _get_snapshot_reply(proto: _Proto) -> Message:
    body = proto.snapshot_reply
    return SnapshotReply(
        source=proto.source,
        target=proto.target,
        term=proto.term,
        index=body.index,
        next_offset=body.next_offset,
        done=body.done,
    )


def _get_timeout_now(proto: _Proto) -> Message:
    return TimeoutNow(source=proto.source, target=proto.target, term=proto.term)


def _get_read_request(proto: _Proto) -> Message:
    return ReadRequest(source=proto.source, target=proto.target, term=proto.term, token=proto.read_request.token)


def _get_read_reply(proto: _Proto) -> Message:
    body = proto.read_reply
    index = body.index if body.HasField("index") else None
    return ReadReply(source=proto.source, target=proto.target, term=proto.term, token=body.token, index=index)


_ENCODERS: Mapping[type[Message], Callable[..., None]] = {
    RequestVote: _put_request_vote,
    VoteReply: _put_vote_reply,
    AppendEntries: _put_append_entries,
    AppendReply: _put_append_reply,
    InstallSnapshot: _put_install_snapshot,
    SnapshotReply: _put_snapshot_reply,
    TimeoutNow: _put_timeout_now,
    ReadRequest: _put_read_request,
    ReadReply: _put_read_reply,
}

MESSAGES = tuple(_ENCODERS)
"""All kinds of messages."""

_DECODERS: Mapping[str, Callable[[_Proto], Message]] = {
    "request_vote": _get_request_vote,
    "vote_reply": _get_vote_reply,
    "append_entries": _get_append_entries,
    "append_reply": _get_append_reply,
    "install_snapshot": _get_install_snapshot,
    "snapshot_reply": _get_snapshot_reply,
    "timeout_now": _get_timeout_now,
    "read_request": _get_read_request,
    "read_reply": _get_read_reply,
}


def encode_message(message: Message) -> bytes:
    """A message as bytes."""
    proto = _Proto(source=message.source, target=message.target, term=message.term)
    _ENCODERS[type(message)](message, proto)
    return proto.SerializeToString()


def decode_message(data: bytes) -> Message:
    """The inverse. Raises :class:`WireError`."""
    try:
        proto = _Proto.FromString(data)
    except DecodeError as error:
        raise WireError(f"not a message: {error}") from None
    decoder = _DECODERS.get(proto.WhichOneof("body") or "")
    if decoder is None:
        raise WireError(f"message from {proto.source!r} has a body that this version does not know")
    return decoder(proto)
