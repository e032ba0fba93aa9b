"""What can be told of namespaces without making any; the rest is in tests/integration."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from harness.host import namespaces
from harness.host.namespaces import NamespaceError


def test_a_second_thread_is_refused() -> None:
    """Namespaces of a process can only be entered as a whole while it has one thread."""
    go_on = threading.Event()
    other = threading.Thread(target=go_on.wait)
    other.start()
    try:
        with pytest.raises(NamespaceError, match="before the first thread"):
            namespaces.enter()
    finally:
        go_on.set()
        other.join()
    assert not namespaces.entered()


def test_a_missing_tool_comes_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without iproute2 and friends, one line to type is given for all of them."""
    monkeypatch.setattr(namespaces, "SEARCH_PATH", "/nowhere")
    (line,) = namespaces.missing()
    assert line.endswith("sudo apt-get install -y iproute2 iptables util-linux")
    namespaces.tool.cache_clear()
    with pytest.raises(NamespaceError, match="sudo apt-get install -y iproute2"):
        namespaces.tool("ip")
    namespaces.tool.cache_clear()


def test_a_forbidding_distribution_is_named_with_its_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a distribution forbids user namespaces, the reason names the setting and the exact line that mends it."""
    switch = tmp_path / "apparmor_restrict_unprivileged_userns"
    switch.write_text("1\n")
    mend = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    monkeypatch.setattr(namespaces, "_SWITCHES", ((str(tmp_path / "absent"), "0", "no"), (str(switch), "1", mend)))
    reason = namespaces._why_refused(PermissionError(1, "Operation not permitted"), was_root=False)
    assert mend in reason
    assert "Operation not permitted" in reason
    switch.write_text("0\n")
    assert mend not in namespaces._why_refused(PermissionError(1, "Operation not permitted"), was_root=False)


def test_calls_happen_here_without_a_namespace_and_fail_without_the_path() -> None:
    """No path: called at once, in this thread. A path that is no namespace: the error comes to the caller."""
    assert namespaces.call_in(None, threading.get_ident) == threading.get_ident()
    with pytest.raises(FileNotFoundError):
        namespaces.call_in("/run/netns/nowhere", os.getpid)


def test_tools_are_found_beyond_an_ordinary_users_path() -> None:
    """The search path of tools ends in the system folders, and messages are in English."""
    environment = namespaces.tool_environment()
    assert environment["PATH"].endswith("/usr/sbin:/sbin")
    assert environment["LC_ALL"] == "C"
