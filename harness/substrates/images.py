"""Images of systems under test, built when they are needed and found again by what they are made of.

An image's tag ends in a hash of everything that goes into it (Dockerfile, locked packages, our node's source), so
that a second run only asks the engine whether the tag is there, and two checkouts never take each other's. Packages
are fetched on this machine, with its own pip configuration, so that the build needs no registry of Python packages.
The base is the ordinary ``python`` image; where no image registry answers, it is made here by debootstrap from the
mirror that this machine's apt is configured for. docs/install.md tells a person about it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.substrates.protocol import Image

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).parents[2]
DOCKERFILE = "compose/Dockerfile"
ORDINARY_BASE = "python:3.12-slim"
LOCAL_BASE = "capsize/base"
BASE_PACKAGES = ("python3", "python3-pip", "iproute2", "iptables")
TOOLBOX = Image(target="toolbox", tag="capsize/toolbox")
LABEL_TARGET = "capsize.target"
INPUTS: Mapping[str, Sequence[str]] = {
    "toolbox": (DOCKERFILE,),
    "raftkv": (DOCKERFILE, "compose/node.lock", "node/**/*.py"),
    "etcd": (DOCKERFILE,),
    "host": (DOCKERFILE, "compose/node.lock", "node/**/*.py"),
    "controller": (
        DOCKERFILE,
        "compose/node.lock",
        "requirements.lock",
        *(f"{package}/**/*" for package in ("checkers", "faults", "harness", "node", "reports")),
    ),
}
"""What each target of the Dockerfile is made of, as patterns below the repository. Builders of old go through every
stage above it, so that their files are among it.
"""
LOCKS: Mapping[str, Sequence[str]] = {
    "raftkv": ("compose/node.lock",),
    "host": ("compose/node.lock",),
    "controller": ("compose/node.lock", "requirements.lock"),
}
"""Whose packages are fetched for a build."""
FETCHING = frozenset({"host", "controller"})
"""Targets whose build installs packages of the system: it shares this machine's network."""
PROGRAMS = "compose/programs"
"""Where programs of this machine are put in the context of a build."""
DEBOOTSTRAP_TIMEOUT_S = 900
BUILD_TIMEOUT_S = 900
WHEELS_TIMEOUT_S = 300
KEPT_IMAGES = 3
"""Images of older states of a checkout that are kept of each target."""

logger = logging.getLogger(__name__)


class ImageError(HarnessError):
    """An image cannot be built; the text says what to do."""


def reference(image: Image, root: Path = ROOT) -> str:
    """The tag under which the image made of the checkout's present state is known: ``<tag>:<hash>``."""
    return f"{image.tag}:{digest(everything(image, root))}"


def everything(image: Image, root: Path = ROOT) -> Mapping[str, bytes]:
    """Every file that goes into the image: its target's, and programs of this machine.

    Raises:
        ImageError: the target is not in the table, or a program cannot be read.
    """
    programs = {}
    for name, path in image.programs.items():
        try:
            programs[f"{PROGRAMS}/{name}"] = Path(path).read_bytes()
        except OSError as error:
            raise ImageError(f"{path} cannot be put into an image: {error.strerror}") from None
    return {**inputs(image.target, root), **programs}


def inputs(target: str, root: Path = ROOT) -> Mapping[str, bytes]:
    """Every file that goes into the target, by its path below the repository.

    Raises:
        ImageError: the target is not in the table.
    """
    if target not in INPUTS:
        raise ImageError(f"no image target {target!r} in {DOCKERFILE}: known are {', '.join(sorted(INPUTS))}")
    paths = sorted({path for pattern in INPUTS[target] for path in root.glob(pattern) if _is_source(path)})
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def digest(files: Mapping[str, bytes]) -> str:
    """Twelve hex digits that tell one set of files from another."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()[:12]


def ensure(client: DockerClient, image: Image) -> str:
    """The reference of an image that the engine has; builds it first if need be (once: seconds, or a minute where the
    base must be made, too).

    Raises:
        ImageError: it cannot be built; the engine's or the tool's last words, and what to do.
    """
    tag = reference(image)
    if has_image(client, tag):
        return tag
    with _only_one():
        if not has_image(client, tag):
            say(f"building the image {tag} (once)")
            _build(client, image, tag)
            _forget_old(client, image, tag)
    return tag


def has_image(client: DockerClient, tag: str) -> bool:
    """Whether the engine has it."""
    from docker.errors import ImageNotFound

    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def say(message: str) -> None:
    """Tells the person who waits, and the run's log."""
    logger.info(message)
    print(f"capsize: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Two runs side by side build one after the other; the second then finds what it needs."""
    path = Path(tempfile.gettempdir()) / f"capsize-images-{os.getuid()}.lock"
    with path.open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ---- the base


def base_image(client: DockerClient) -> str:
    """An image with Python and pip: the ordinary one, or one made here.

    Raises:
        ImageError: no registry answers, and none can be made here.
    """
    local = f"{LOCAL_BASE}:{digest({'packages': ' '.join(BASE_PACKAGES).encode()})}"
    present = next((tag for tag in (ORDINARY_BASE, local) if has_image(client, tag)), None)
    return present or _pulled(client) or _made_here(client, local)


def _pulled(client: DockerClient) -> str | None:
    from docker.errors import APIError
    from requests.exceptions import RequestException

    say(f"pulling {ORDINARY_BASE}")
    try:
        client.images.pull(ORDINARY_BASE)
    except (APIError, RequestException) as error:
        logger.info("docker pull %s: %s", ORDINARY_BASE, error)
        say("no image registry gives it: a base is made here")
        return None
    return ORDINARY_BASE


def _made_here(client: DockerClient, tag: str) -> str:
    if os.geteuid() != 0 or shutil.which("debootstrap", path=_path()) is None:
        raise ImageError(
            f"{ORDINARY_BASE} cannot be pulled, and making a base here needs root and debootstrap."
            f" Type: docker pull {ORDINARY_BASE}   or: sudo apt-get install -y debootstrap, and start this once as root"
        )
    suite, mirror, components = _apt_source()
    with tempfile.TemporaryDirectory(prefix="capsize-base-") as folder:
        tree = Path(folder) / "root"
        say(f"making a base image: debootstrap {suite} (a minute, once)")
        options = ["--variant=minbase", f"--include={','.join(BASE_PACKAGES)}", f"--components={components}"]
        _run(["debootstrap", *options, suite, str(tree), mirror], timeout_s=DEBOOTSTRAP_TIMEOUT_S)
        shutil.rmtree(tree / "var/cache/apt", ignore_errors=True)
        archive = Path(folder) / "root.tar"
        _run(
            [
                "tar",
                "--numeric-owner",
                "-C",
                str(tree),
                "--exclude=./proc/*",
                "--exclude=./sys/*",
                "-cf",
                str(archive),
                ".",
            ],
            timeout_s=120,
        )
        repository, _, version = tag.partition(":")
        with archive.open("rb") as stream:
            client.api.import_image(
                src=stream, repository=repository, tag=version, changes=[f"LABEL {LABEL_TARGET}=base"]
            )
    return tag


def _apt_source() -> tuple[str, str, str]:
    """Suite, mirror and components from this machine's own apt configuration.

    Raises:
        ImageError: apt names no mirror for the release that this machine runs.
    """
    release = platform.freedesktop_os_release()
    lines = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        timeout_s=30,
    )
    return choose_source(lines.splitlines(), release.get("VERSION_CODENAME", ""))


def choose_source(lines: Iterable[str], codename: str) -> tuple[str, str, str]:
    """Suite, mirror and components among lines ``mirror suite component``: those of the release itself, not of its
    updates.

    Raises:
        ImageError: there is none.
    """
    found = [(parts[0], parts[2]) for line in lines if len(parts := line.split()) == 3 and parts[1] == codename]
    mirror = next((mirror for mirror, component in found if component == "main"), None)
    if not codename or mirror is None:
        raise ImageError(
            f"apt on this machine names no mirror for release {codename!r}, so no base image can be made here."
            f" Type: docker pull {ORDINARY_BASE}"
        )
    components = [
        component for at, component in found if at == mirror and component in ("main", "universe")
    ]  # universe: Ubuntu's pip
    return codename, mirror, ",".join(dict.fromkeys(components))


# ---- the build


def _build(client: DockerClient, image: Image, tag: str) -> None:
    base = base_image(client)
    files = dict(everything(image))
    with tempfile.TemporaryDirectory(prefix="capsize-image-") as folder:
        if image.target in LOCKS:
            wheels = _wheels(client, base, Path(folder), LOCKS[image.target])
            files |= {f"compose/wheels/{wheel.name}": wheel.read_bytes() for wheel in wheels}
        _run_build(client, image, tag, base, context(files))


def _wheels(client: DockerClient, base: str, folder: Path, locks: Sequence[str]) -> Sequence[Path]:
    """The locked packages for the base's Python, fetched by this machine's pip."""
    asked = client.containers.run(
        base, ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], remove=True, network_mode="none"
    )
    version = bytes(asked).decode().strip()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--require-hashes",
    ]
    target = [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={version}",
        *(f"--platform={name}" for name in platforms(platform.machine())),
    ]
    for lock in locks:
        _run([*command, *target, "-r", str(ROOT / lock), "-d", str(folder)], timeout_s=WHEELS_TIMEOUT_S)
    return sorted(folder.glob("*.whl"))


def platforms(machine: str) -> Sequence[str]:
    """Names of binary platforms that a base with glibc 2.34 or newer runs (PEP 600), the newest first."""
    return [*(f"manylinux_2_{minor}_{machine}" for minor in range(34, 16, -1)), f"manylinux2014_{machine}"]


def context(files: Mapping[str, bytes]) -> io.BytesIO:
    """A build context as a tar archive. Times and owners are fixed, so that the engine's layer cache sees equal files
    as equal.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755 if name.startswith(PROGRAMS) else 0o644
            archive.addfile(entry, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def _run_build(client: DockerClient, image: Image, tag: str, base: str, archive: io.BytesIO) -> None:
    lines = client.api.build(
        fileobj=archive,
        custom_context=True,
        dockerfile=DOCKERFILE,
        target=image.target,
        tag=tag,
        buildargs={"BASE": base, "OFFLINE": "1"},
        labels={LABEL_TARGET: image.target},
        network_mode="host" if image.target in FETCHING else None,
        rm=True,
        forcerm=True,
        timeout=BUILD_TIMEOUT_S,
        decode=True,
    )
    said: list[str] = []
    for line in lines:
        said.append(str(line.get("stream") or line.get("error") or "").strip())
        if "error" in line:
            tail = "\n".join([text for text in said if text][-15:])
            raise ImageError(
                f"the image {tag} does not build:\n{tail}\nMend {DOCKERFILE} or the network, then start again"
            )


def _forget_old(client: DockerClient, image: Image, kept: str) -> None:
    """Removes images of older states, but for the newest few and those in use."""
    from docker.errors import APIError

    every = client.images.list(filters={"label": f"{LABEL_TARGET}={image.target}"})
    tags = [
        tag
        for found in sorted(every, key=lambda one: str(one.attrs.get("Created", "")), reverse=True)
        for tag in found.tags
        if tag.startswith(f"{image.tag}:")
    ]
    for tag in [tag for tag in tags if tag != kept][KEPT_IMAGES:]:
        with contextlib.suppress(APIError):  # in use by a run that is still going on
            client.api.remove_image(tag)


# ---- tools


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def _run(argv: Sequence[str], *, timeout_s: float) -> str:
    """A tool's output.

    Raises:
        ImageError: it failed or took too long; with its last words.
    """
    environment = {**os.environ, "PATH": _path(), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise ImageError(
            f"{argv[0]} not found, but an image must be built: sudo apt-get install -y {argv[0]}"
        ) from None
    except subprocess.TimeoutExpired:
        raise ImageError(
            f"{argv[0]} took longer than {timeout_s:g} s to build an image: is the network there? Start again"
        ) from None
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-10:])
        raise ImageError(f"{argv[0]} failed with status {done.returncode} while an image was built:\n{tail}")
    return done.stdout
