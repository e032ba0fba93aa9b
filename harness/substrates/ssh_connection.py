"""One SSH connection to a host, by paramiko: blocking, so used from threads.

The host's own key must be in its ``known_hosts`` file; nothing is ever trusted at first sight. The socket is our own,
with TCP_NODELAY: a command takes 4 ms instead of 50 (measured). Every trouble is an :class:`SshError` that says the
host and the next step.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko

from faults.needs import Completed
from harness.errors import HarnessError
from harness.substrates.ssh_hosts import Host

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # a connection that is lost is told by us, once


class SshError(HarnessError):
    """A host cannot be reached, or refuses; the text says which, and the next step."""


class Connection:
    """To one host."""

    def __init__(self, host: Host, client: paramiko.SSHClient) -> None:
        self.host = host
        self._client = client

    @classmethod
    def open(cls, host: Host) -> Connection:
        """Connects and logs in.

        Raises:
            SshError: not reachable, another key than the known one, or login refused.
        """
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        line: socket.socket | None = None
        try:
            client.load_host_keys(host.known_hosts_file)
            line = _dialled(host)
            client.connect(
                host.address,
                port=host.port,
                username=host.user,
                key_filename=host.key_file,
                look_for_keys=host.key is None,
                allow_agent=host.key is None,
                sock=line,
                timeout=CONNECT_TIMEOUT_S,
                banner_timeout=CONNECT_TIMEOUT_S,
                auth_timeout=CONNECT_TIMEOUT_S,
            )
        except (OSError, EOFError, paramiko.SSHException) as error:
            client.close()
            if line is not None:
                line.close()
            raise SshError(f"{host.words}: {_reason(host, error)}") from None
        return cls(host, client)

    @property
    def own_address(self) -> str:
        """The address of this machine that the host sees."""
        line = self._transport.sock
        assert isinstance(line, socket.socket)
        return str(line.getsockname()[0])

    @property
    def _transport(self) -> paramiko.Transport:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise SshError(f"{self.host.words}: the connection is lost")
        return transport

    def channel(self, command: str) -> paramiko.Channel:
        """Starts a command (for the login shell); its input and output are the channel.

        Raises:
            SshError: the connection is lost, or the host refuses.
        """
        try:
            channel = self._transport.open_session(timeout=CONNECT_TIMEOUT_S)
            channel.settimeout(COMMAND_TIMEOUT_S)
            channel.exec_command(command)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise SshError(f"{self.host.words}: {command.split()[0]} cannot be started: {error}") from None
        return channel

    def run(self, argv: Sequence[str], *, stdin: str | bytes = "") -> Completed:
        """A command that ends by itself; :func:`words_for` makes root's deeds of it.

        Raises:
            SshError: the connection is lost, or it does not end in time.
        """
        with contextlib.closing(self.channel(shlex.join(argv))) as channel:
            try:
                with contextlib.suppress(OSError):  # who has ended already does not read; its status says why
                    channel.sendall(stdin.encode() if isinstance(stdin, str) else stdin)
                    channel.shutdown_write()
                out = channel.makefile("rb").read()
                err = channel.makefile_stderr("rb").read()
                return Completed(status=channel.recv_exit_status(), stdout=out.decode(), stderr=err.decode())
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise SshError(f"{self.host.words}: {argv[0]}: {error or 'no end in time'}") from None

    def download(self, path: str, target: Path) -> None:
        """A folder with everything below it, or a file. What is here of a file already is taken for its beginning: only
        the rest is fetched.

        Raises:
            SshError: it is not there, or cannot be read.
        """
        with self._sftp() as sftp, self._telling(path):
            _fetch(sftp, path, target)

    def close(self) -> None:
        """Ends it. Safe to call twice."""
        self._client.close()

    @contextlib.contextmanager
    def _telling(self, path: str) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise SshError(f"{self.host.words}: {path}: {error}") from None

    def _sftp(self) -> contextlib.closing[paramiko.SFTPClient]:
        try:
            client = paramiko.SFTPClient.from_transport(self._transport)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise SshError(f"{self.host.words}: no file transfer: {error}; is the subsystem sftp on there?") from None
        assert client is not None
        return contextlib.closing(client)


def _dialled(host: Host) -> socket.socket:
    line = socket.create_connection((host.address, host.port), timeout=CONNECT_TIMEOUT_S)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def _fetch(sftp: paramiko.SFTPClient, path: str, target: Path) -> None:
    facts = sftp.stat(path)
    if stat.S_ISDIR(facts.st_mode or 0):
        target.mkdir(parents=True, exist_ok=True)
        for name in sftp.listdir(path):
            _fetch(sftp, f"{path}/{name}", target / os.path.basename(name))
    elif stat.S_ISREG(facts.st_mode or 0):
        have = target.stat().st_size if target.exists() else 0
        if have < (facts.st_size or 0):
            with sftp.open(path, "rb") as source, target.open("ab") as file:
                source.prefetch(facts.st_size)
                source.seek(have)
                file.write(source.read())


def _reason(host: Host, error: Exception) -> str:
    """What went wrong, and the line that mends it."""
    scan = f"ssh-keyscan -p {host.port} {host.address} >> {host.known_hosts}"
    name = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
    if isinstance(error, paramiko.BadHostKeyException):
        return (
            f"its key is another one than in {host.known_hosts}: if it was set up anew, type:"
            f" ssh-keygen -f {host.known_hosts} -R '{name}'; {scan}"
        )
    if isinstance(error, paramiko.AuthenticationException):
        identity = f"-i {host.key} " if host.key else ""
        login = f"{host.user}@{host.address}" if host.user else host.address
        return f"login refused ({error}): ssh-copy-id {identity}-p {host.port} {login}"
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} does not exist: {scan if error.filename == host.known_hosts_file else 'name another'}"
    if "not found in known_hosts" in str(error):
        return f"its key is not in {host.known_hosts}, so nobody knows who answers: {scan}   (and compare the key)"
    if isinstance(error, paramiko.SSHException) and not isinstance(error, OSError):
        return f"{error}: see whether `ssh -p {host.port} {host.address} true` works"
    return f"not reachable ({error}): is its SSH server on port {host.port}, and no firewall in between?"


def words_for(host: Host, argv: Sequence[str]) -> list[str]:
    """The command with root's rights, as far as the host gives them."""
    return ["sudo", "-n", *argv] if host.become == "sudo" else list(argv)
