"""Namespaces on this machine: given to whom they should be, and refused with the line that mends it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.integration.persons import ROOT

pytestmark = pytest.mark.integration

ASK = "from harness.host import namespaces; print(*namespaces.missing(), sep='|'); print(namespaces.entered())"
POWERLESS = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
FORBID = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'


def ask(*prefix: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [*prefix, sys.executable, "-c", ASK]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()


def test_nothing_is_missing_and_nothing_is_entered_by_asking() -> None:
    """This machine can run the process substrate (it does so in the other tests), and asking leaves the process where
    it is.
    """
    assert ask() == ["", "False"]


def test_a_machine_that_allows_no_user_namespaces_says_how_to_allow_them() -> None:
    """With the limit of user namespaces at nought, the reason names the setting and the line that raises it."""
    answer = ask("unshare", "--user", "--map-root-user", "sh", "-c", FORBID, "sh", *POWERLESS)
    assert "/proc/sys/user/max_user_namespaces is 0" in answer[0]
    assert "sudo sysctl -w user.max_user_namespaces=10000" in answer[0]


def test_a_root_without_power_is_told_what_it_lacks() -> None:
    """Root of a container without privileges is no root: the reason names the capabilities and the way to give them."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    answer = ask(*POWERLESS)
    assert "CAP_SYS_ADMIN" in answer[0]
    assert "docker run --privileged" in answer[0]
