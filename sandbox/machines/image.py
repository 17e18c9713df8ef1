"""The base image of the pretend servers: Debian bookworm, built once and cached by its recipe."""

import fcntl
import hashlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.machines import packages
from sandbox.machines.commands import run, search_path
from sandbox.machines.driver import MachineError
from sandbox.paths import cache_dir

SUITE = "bookworm"
FIXTURES = Path(__file__).parent / "base"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PACKAGES = (
    "apt",
    "ca-certificates",
    "cloud-init",
    "curl",
    "dbus",
    "gzip",
    "iproute2",
    "iputils-ping",
    "less",
    "libpam-systemd",
    "locales",
    "lsb-release",
    "netbase",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tar",
    "ufw",
    "unattended-upgrades",
    "xz-utils",
)

# With process ids and mounts of its own, a build that is cut short leaves none behind.
CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)


def ensure(progress: Callable[[str], None]) -> Path:
    """The base image's file tree, made if it isn't there (two minutes; needs root and a mirror).

    The tree is shared by running machines: read it, mount it as an overlay's lower layer, never
    write to it. Raises MachineError.
    """
    packages.ensure(progress)
    sources = _apt_sources()
    return _tree(_recipe_key(sources), sources, progress)


def tree(key: str, progress: Callable[[str], None]) -> Path:
    """The file tree of an image made earlier, by `ensure(…).name`. MachineError when it is gone."""
    return _tree(key, None, progress)


def _tree(key: str, sources: list[str] | None, progress: Callable[[str], None]) -> Path:
    home = cache_dir() / "images"
    unpacked, archive = home / key, home / f"{key}.tar.zst"
    if unpacked.is_dir():
        return unpacked
    home.mkdir(parents=True, exist_ok=True)
    with _only_one(home / "lock", progress):
        if unpacked.is_dir():
            return unpacked
        _remove_unfinished(home)
        if not archive.exists():
            if sources is None:
                raise MachineError(
                    f"the base image {key} that this machine was made from is no longer in {home}:"
                    " delete the machine, or rebuild it"
                )
            _build(archive, sources, progress)
        _unpack(archive, unpacked, progress)
    return unpacked


def _apt_sources() -> list[str]:
    """The host's own apt sources for the suite, as one-line entries; none on another system."""
    listing = run(
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    )
    wanted = {SUITE, f"{SUITE}-updates", f"{SUITE}-security"}
    entries = []
    for line in sorted(set(listing.splitlines())):
        uri, release, component = line.rsplit(" ", 2)
        if release in wanted and component == "main":
            entries.append(f"deb {uri} {release} {component}")
    return entries


def _apt_options() -> list[str]:
    """The host's own apt settings that decide whether its mirror answers: proxies and dates."""
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")
    dump = run("apt-config", "dump", "--no-empty").splitlines()
    return [line.rstrip(";") for line in dump if line.startswith(wanted)]


def _recipe_key(sources: list[str]) -> str:
    """A hash of everything that the image depends on, but the mirror's packages of the day."""
    digest = hashlib.sha256()
    for text in (SUITE, *PACKAGES, *sources, *_apt_options()):
        digest.update(text.encode() + b"\0")
    for name in PROXIES:
        digest.update(f"{name}={os.environ.get(name, '')}\0".encode())
    for path in (*sorted(FIXTURES.iterdir()), *sorted(CERTIFICATES.glob("*.crt"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{SUITE}-{digest.hexdigest()[:16]}"


def _build(archive: Path, sources: list[str], progress: Callable[[str], None]) -> None:
    """Run mmdebstrap into `archive`."""
    progress(f"Building the base image of the servers (Debian {SUITE}; about two minutes, once)")
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="build-") as scratch:
        new = Path(scratch) / "new.tar.zst"
        command = [*CONTAINED, "mmdebstrap", "--mode=root", "--variant=minbase"]
        command += [f"--include={','.join(PACKAGES)}"]
        command += [f"--aptopt={option}" for option in _apt_options()]
        command += ["--dpkgopt=path-exclude=/usr/share/doc/*"]
        command += ["--dpkgopt=path-exclude=/usr/share/man/*"]
        customize = shlex.quote(str(FIXTURES / "customize.sh"))
        command += [f'--customize-hook=sh {customize} "$1"', SUITE, str(new)]
        if sources:
            command.append("-")
        environment = {**os.environ, "TMPDIR": scratch, "PATH": search_path()}
        result = subprocess.run(
            command,
            input="\n".join(sources),
            text=True,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if result.returncode:
            tail = "\n".join(result.stdout.splitlines()[-8:])
            raise MachineError(
                f"mmdebstrap could not build the base image; is a Debian mirror reachable?\n{tail}"
            )
        new.replace(archive)


def _unpack(archive: Path, unpacked: Path, progress: Callable[[str], None]) -> None:
    progress("Unpacking the base image")
    new = Path(tempfile.mkdtemp(dir=archive.parent, prefix="unpack-"))
    try:
        command = ["tar", "--extract", "--zstd", "--file", str(archive), "--directory", str(new)]
        # File capabilities are extended attributes.
        run(*command, "--numeric-owner", "--xattrs", "--xattrs-include=*", "--same-permissions")
        new.chmod(0o755)
        new.rename(unpacked)
    except BaseException:
        run("rm", "-rf", str(new))
        raise


def _remove_unfinished(home: Path) -> None:
    """Remove what a killed build left."""
    for pattern in ("build-*", "unpack-*"):
        for path in home.glob(pattern):
            run("rm", "-rf", "--one-file-system", str(path))


@contextmanager
def _only_one(path: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock file, so that two set-ups at once build one image."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Waiting for another process that makes the base image")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
