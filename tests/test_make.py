"""`make`, tools/ and .ci/run, on a copy of the checkout with commands of our own on PATH."""

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
CLOSED_PORT = 1


@dataclass
class Copy:
    """A checkout of Makefile, tools/ and .ci/ alone, whose PATH starts with `bin`."""

    root: Path
    python: str = sys.executable

    def __post_init__(self) -> None:
        self.bin.mkdir(parents=True)
        self.checkout.mkdir()
        shutil.copy(CHECKOUT / "Makefile", self.checkout)
        shutil.copytree(CHECKOUT / "tools", self.checkout / "tools")
        shutil.copytree(CHECKOUT / ".ci", self.checkout / ".ci")

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def checkout(self) -> Path:
        return self.root / "checkout"

    @property
    def log(self) -> Path:
        """What the commands of `fake` were called with."""
        return self.root / "calls"

    @property
    def venvs(self) -> Path:
        return self.root / "xdg" / "clawdet" / "venv"

    def env(self, **more: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE"))}
        base = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(self.root / "xdg"),
            "PYTHON": self.python,
        }
        return {**inherited, **base, **more}

    def fake(self, name: str, script: str = "", folder: Path | None = None) -> Path:
        """An executable that notes its name and arguments, then runs `script`."""
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.log}"\n{script}\n')
        path.chmod(0o755)
        return path

    def fake_environment(self, script: str = "") -> None:
        """A virtual environment whose Python and tools only note how they are called."""
        self.fake("bootstrap.sh", folder=self.checkout / "tools")
        self.fake("system-packages.sh", folder=self.checkout / "tools")
        for name in ("python", "ruff", "mypy", "lint-imports", "uv"):
            self.fake(name, script, self.checkout / ".venv" / "bin")

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def start(self, *argv: str, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            argv, cwd=self.checkout, env=self.env(**env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
        )  # fmt: skip

    def run(self, *argv: str, **env: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*argv, **env)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.fixture
def packaged(copy: Copy) -> Copy:
    """A copy whose requirements.txt names one package, to be had from a folder."""
    wheel = copy.root / "wheels" / "claw-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    info = "claw-1.0.dist-info"
    files = {
        "claw.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: claw\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={_record_hash(text)},{len(text)}" for name, text in files.items()] + [
        f"{info}/RECORD,,"
    ]
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": "\n".join(rows) + "\n"}.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (copy.checkout / "requirements.txt").write_text(f"claw==1.0 --hash=sha256:{digest}\n")
    return copy


def _record_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def empty_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def quick(packaged: Copy, empty_venv: Path) -> Copy:
    """A packaged copy whose Python makes a virtual environment by copying an empty one."""
    copying = f'[ "$2" = venv ] && exec cp -a {empty_venv} "$3"; exec {sys.executable} "$@"'
    packaged.python = str(packaged.fake("quick-python", copying))
    return packaged


def bootstrap(copy: Copy, **env: str) -> "subprocess.CompletedProcess[str]":
    source = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(copy.root / "wheels")}
    return copy.run("tools/bootstrap.sh", **{**source, **env})


# make


def test_make_alone_lists_every_target_with_a_line(copy: Copy) -> None:
    done = copy.run("make")
    listed = re.findall(r"^  make (\S+) +\S", done.stdout, re.MULTILINE)
    assert done.returncode == 0
    targets = "help setup demo run sandbox test lint bench lock clean"
    for target in targets.split():
        assert target in listed


def test_demo_sets_up_first_and_runs_with_this_checkouts_python(copy: Copy) -> None:
    copy.fake_environment()
    assert copy.run("make", "demo").returncode == 0
    calls = [" ".join(call.split()[:4]) for call in copy.calls()]
    assert [call.split()[0] for call in calls[:1]] == ["bootstrap.sh"]
    assert calls[1] == "python -m stacks setup"
    assert calls[-2:] == ["python -m sandbox setup", "python -m demo"]


def test_test_runs_lint_types_folder_rules_and_tests(copy: Copy) -> None:
    copy.fake_environment()
    assert copy.run("make", "test").returncode == 0
    calls = copy.calls()[-5:]
    assert calls == [
        "ruff check .",
        "ruff format --check .",
        "mypy ",
        "lint-imports ",
        "python -m pytest",
    ]


def test_a_target_that_fails_fails_make(copy: Copy) -> None:
    copy.fake_environment('[ "$2" != demo ] || exit 3')
    assert copy.run("make", "demo").returncode == 2


def test_an_interrupt_ends_make_and_what_it_runs(copy: Copy) -> None:
    copy.fake_environment('[ "$2" != demo ] || exec sleep 60')
    process = copy.start("make", "demo")
    deadline = time.monotonic() + 120
    while "python -m demo" not in copy.calls() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT  # a shell reports 130
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_clean_stops_a_sandbox_removes_the_state_and_may_be_run_again(copy: Copy) -> None:
    copy.fake_environment()
    (copy.checkout / ".clawdet" / "sandbox").mkdir(parents=True)
    assert copy.run("make", "clean").returncode == 0
    assert copy.calls()[-1] == "python -m sandbox stop --dir .clawdet/sandbox"
    assert not (copy.checkout / ".clawdet").exists()
    before = copy.calls()
    again = copy.run("make", "clean")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert copy.calls() == before


# tools/bootstrap.sh


def test_the_environment_is_made_once_and_then_quietly_found(packaged: Copy) -> None:
    first = bootstrap(packaged)
    assert first.returncode == 0, first.stderr
    assert "1 packages from requirements.txt" in first.stderr
    python = packaged.checkout / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-c", "import claw"], check=False).returncode == 0
    again = bootstrap(packaged)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    (packaged.checkout / ".venv").unlink()  # the next clone
    clone = bootstrap(packaged)
    assert (clone.returncode, clone.stderr) == (0, "")
    assert python.exists()


def test_no_package_index_is_told_and_the_next_run_mends_it(quick: Copy) -> None:
    offline = bootstrap(
        quick,
        PIP_NO_INDEX="0",
        PIP_FIND_LINKS="",
        PIP_INDEX_URL=f"http://127.0.0.1:{CLOSED_PORT}/simple",
        PIP_RETRIES="0",
    )
    assert offline.returncode == 1
    assert "cannot be downloaded" in offline.stderr
    assert "PIP_INDEX_URL" in offline.stderr
    assert bootstrap(quick).returncode == 0


def test_a_package_other_than_the_pinned_one_is_refused(quick: Copy) -> None:
    requirements = quick.checkout / "requirements.txt"
    requirements.write_text(re.sub(r"sha256:\w+", f"sha256:{'0' * 64}", requirements.read_text()))
    done = bootstrap(quick)
    assert done.returncode == 1
    assert "not the one requirements.txt pins" in done.stderr


def test_an_environment_that_no_longer_works_is_made_again(quick: Copy) -> None:
    bootstrap(quick)
    (venv,) = (path.parent for path in quick.venvs.glob("*/complete"))
    (venv / "bin" / "python").unlink()
    done = bootstrap(quick)
    assert done.returncode == 0, done.stderr
    assert (venv / "bin" / "python").exists()


def test_no_fitting_python_is_told(quick: Copy) -> None:
    old = quick.fake("old-python", "exit 1")
    done = bootstrap(quick, PYTHON=str(old))
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert "make PYTHON=" in done.stderr


def test_a_python_without_its_venv_module_names_the_debian_package(quick: Copy) -> None:
    bare = quick.fake(
        "bare-python", f'case "$*" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
    )
    quick.fake("dpkg-query", "exit 1")
    quick.fake("id", "echo 1000")
    done = bootstrap(quick, PYTHON=str(bare))
    assert done.returncode == 1
    assert re.search(r"apt-get install python3\.\d+-venv", done.stderr)


def test_an_interrupt_while_packages_install_ends_pip_too(quick: Copy) -> None:
    slow = quick.fake(
        "slow-python",
        f'[ "$2" = venv ] || exec {sys.executable} "$@"; echo $$ >{quick.root}/pid; exec sleep 60',
    )
    process = quick.start("tools/bootstrap.sh", PYTHON=str(slow))
    deadline = time.monotonic() + 120
    while not (quick.root / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert bootstrap(quick).returncode == 0


# tools/system-packages.sh


def test_packages_that_are_there_are_passed_over_in_silence(copy: Copy) -> None:
    copy.fake("dpkg-query", "echo installed")
    copy.fake("apt-get")
    done = copy.run("tools/system-packages.sh", "zstd", "nftables")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not [call for call in copy.calls() if call.startswith("apt-get")]


def test_missing_packages_are_named_to_who_is_not_root(copy: Copy) -> None:
    copy.fake("dpkg-query", '[ "$4" = zstd ] && echo installed')
    copy.fake("id", "echo 1000")
    copy.fake("apt-get")
    done = copy.run("tools/system-packages.sh", "zstd", "nftables", "mmdebstrap")
    assert done.returncode == 1
    assert "apt-get install nftables mmdebstrap" in done.stderr
    assert not [call for call in copy.calls() if call.startswith("apt-get")]


def test_root_installs_them_with_one_update_at_most(copy: Copy) -> None:
    copy.fake("dpkg-query", "exit 1")
    copy.fake("id", "echo 0")
    copy.fake("apt-get")
    assert copy.run("tools/system-packages.sh", "zstd").returncode == 0
    assert [call.split()[1] for call in copy.calls() if call.startswith("apt-get")] == ["install"]
    copy.log.unlink()
    copy.fake("apt-get", f'[ "$1" = update ] && touch {copy.root}/lists; [ -e {copy.root}/lists ]')
    assert copy.run("tools/system-packages.sh", "zstd").returncode == 0
    tried = [call.split()[1] for call in copy.calls() if call.startswith("apt-get")]
    assert tried == ["install", "update", "install"]


def test_packages_that_cannot_be_installed_are_named_with_apts_reason(copy: Copy) -> None:
    copy.fake("dpkg-query", "exit 1")
    copy.fake("id", "echo 0")
    copy.fake("apt-get", "echo 'E: no mirror answers'; exit 100")
    done = copy.run("tools/system-packages.sh", "zstd")
    assert done.returncode == 1
    assert "E: no mirror answers" in done.stderr
    assert "could not install: zstd" in done.stderr


# .ci/run


@pytest.mark.parametrize("code", [0, 2])
def test_ci_passes_the_exit_code_on_and_ends_with_the_count(copy: Copy, code: int) -> None:
    closing = "==== 1 failed, 7 passed in 3.21s ===="
    copy.fake("make", f"echo 'FAILED tests/x.py::y'; echo '{closing}'; exit {code}")
    done = copy.run(".ci/run")
    assert done.returncode == code
    assert done.stdout.splitlines()[-1] == closing
    assert copy.calls() == ["make test"]
