"""Who a server is in its cluster, apart from the node that it runs on.

A server that comes back without its data would have forgotten its votes and what it acknowledged, and could break
promises that its peers rely on. So whoever joins a cluster is somebody new: the leader that adds it makes up an
identity that names the entry by which it is added, and no two entries have the same term and index. Neither its votes
nor its acknowledgements can then pass for those of the one before, nor a late message of the one before for its own: to
Raft they are two servers, of which one never comes back. Configurations, votes and messages speak of identities;
command lines, traces and addresses of nodes.

The servers that found a cluster are called like their nodes. A data directory remembers whose it is: an identity can't
be taken up by a directory that holds somebody else's promises, nor laid down without emptying it.
"""

from __future__ import annotations

import os
from pathlib import Path

from node.durable.wal import sync_directory, write_fully

_ADDED_BY = "~"
_FILE = "identity"


class IdentityError(Exception):
    """A data directory belongs to somebody else: says to whom, and the next step. The node must not start."""


def new_identity(node: str, *, term: int, index: int) -> str:
    """What a node is called in the cluster if it is added by the entry at ``index`` of ``term``: like nobody before."""
    return f"{host_of(node)}{_ADDED_BY}{term}.{index}"


def host_of(identity: str) -> str:
    """The node that an identity runs on."""
    return identity.partition(_ADDED_BY)[0]


def settle_identity(directory: Path, *, node: str, joins_as: str | None, is_new: bool) -> str:
    """Whose data ``directory`` holds: ``joins_as`` if it holds nothing yet (``is_new``), which it then remembers.

    Without ``joins_as`` a directory that remembers nobody is its node's own. Raises :class:`IdentityError`, OSError.
    """
    path = directory / _FILE
    known = path.read_text() if path.exists() else node
    if is_new and joins_as is not None:
        _remember(path, joins_as)
        return joins_as
    if joins_as not in (None, known):
        raise IdentityError(
            f"{directory} holds the data of {known}, so the node can't join as {joins_as}. Start it without --join to "
            f"go on as {known}; if that was taken out of the cluster, empty the directory first"
        )
    return known


def _remember(path: Path, identity: str) -> None:
    temporary = path.with_suffix(".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_fully(fd, identity.encode(), 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    sync_directory(path.parent)
