"""`python -m stacks doctor`: what this machine has, what is missing, and what to do about it.

Looks only: nothing is installed, written or changed, and no credential is ever shown.
"""

import argparse
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from pydantic import SecretStr

from stacks import plugins, terminal
from stacks.engine import Engine, find, unfit_on_path, wanted_version
from stacks.errors import StackError, UsageError
from stacks.fetching import cache_dir, run_watched, unreachable
from stacks.settings import CHECKOUT, Settings

SETUP = "Run `make setup`."
SECRETS = (
    'Set it in the environment (docs/settings.md); in the sandbox: eval "$(python -m sandbox env)".'
)
GB = 10**9
_BACKEND_TIMEOUT_S = 20.0

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `remedy` is "" when there is nothing to do."""

    check: str
    status: Status
    detail: str
    remedy: str = ""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `doctor` to the command line; the parsed arguments carry `handler`."""
    parser = commands.add_parser(
        "doctor",
        help="say what this machine has and what it lacks",
        description="Look at everything a stack operation needs. Changes nothing. "
        "Exit code 0 if nothing failed.",
    )
    parser.add_argument("--json", action="store_true", help="findings as a JSON list")
    parser.set_defaults(handler=main)


def main(args: argparse.Namespace) -> int:
    """Handler of `doctor`: prints the findings; 0 if none of them failed."""
    findings = run(Settings.read(), cache_dir())
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _render(findings)
    return int(any(finding.status == "fail" for finding in findings))


def run(settings: Settings, cache: Path) -> list[Finding]:
    """Every finding, in the order a person would mend them. Takes seconds at most: what goes
    over the network is asked at once and bounded by `settings.clawdet_cloud_timeout_s`."""
    engine, engine_finding = _engine(cache)
    checks: list[Callable[[], list[Finding]]] = [
        lambda: [engine_finding],
        lambda: _language_host(engine, settings.pulumi_home),
        lambda: _plugins(settings),
        lambda: [_backend(engine, settings)],
        lambda: _credentials(settings),
        lambda: [_hetzner(settings)],
        lambda: [_cloudflare(settings)],
        lambda: [_ssh(), *_machines()],
        lambda: [_disk("checkout", CHECKOUT), _disk("cache", cache), _memory(settings)],
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return [finding for found in pool.map(lambda check: check(), checks) for finding in found]


def _engine(cache: Path) -> tuple[Engine | None, Finding]:
    try:
        engine = find(cache)
    except StackError as exc:
        return None, Finding("engine", "fail", str(exc), exc.remedy)
    if engine is not None:
        detail = f"{engine.version}, {engine.origin}, {engine.path}"
        return engine, Finding("engine", "ok", detail)
    detail = unfit_on_path() or f"no pulumi {wanted_version()} or newer on this machine"
    return None, Finding("engine", "fail", detail, SETUP)


def _language_host(engine: Engine | None, home: Path) -> list[Finding]:
    if engine is None:
        return []
    host = plugins.language_host(engine, home)
    if host is None:
        detail = "none: a plain `pulumi up` can't run the program (python -m stacks can)"
        return [Finding("language host", "warn", detail, SETUP)]
    return [Finding("language host", "ok", str(host))]


def _plugins(settings: Settings) -> list[Finding]:
    endpoints = (settings.hetzner_endpoint, settings.cloudflare_base_url)
    here = all(_is_loopback(url) for url in endpoints)
    findings = []
    for state in plugins.installed(settings.pulumi_home):
        check, detail = f"plugin {state.name}", f"{state.version}, {state.origin}"
        if state.origin == "missing":
            findings.append(Finding(check, "fail", detail, SETUP))
        elif state.origin == "stand-in" and not here:
            remedy = "For the real clouds connect to the internet, then run `make setup`."
            findings.append(Finding(check, "warn", detail, remedy))
        else:
            findings.append(Finding(check, "ok", detail))
    return findings


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _backend(engine: Engine | None, settings: Settings) -> Finding:
    url = settings.backend_url
    if url.startswith("file://"):
        return _folder_backend(url, Path(url.removeprefix("file://")).expanduser())
    shown = f"{urlsplit(url).scheme}://{urlsplit(url).hostname or ''}"  # it may hold a password
    if engine is None:
        return Finding("state backend", "warn", f"{shown} not asked: no engine", SETUP)
    outcome = run_watched(
        [engine.path, "stack", "ls", "--all", "--json", "--non-interactive"],
        cwd=CHECKOUT,
        env={**os.environ, "PULUMI_BACKEND_URL": url, "PULUMI_SKIP_UPDATE_CHECK": "true",
             "PULUMI_HOME": str(settings.pulumi_home)},
        timeout_s=_BACKEND_TIMEOUT_S,
        on_line=lambda _: None,
        on_tick=lambda _: None,
    )  # fmt: skip
    if outcome.ok:
        return Finding("state backend", "ok", f"{shown} answers")
    remedy = "Check PULUMI_BACKEND_URL and the backend's own credentials."
    return Finding("state backend", "fail", f"{shown} can't be used", remedy)


def _folder_backend(url: str, folder: Path) -> Finding:
    existing = _nearest(folder)
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding("state backend", "ok", f"{url}, writable")
    remedy = "Make it writable, or set PULUMI_BACKEND_URL."
    return Finding("state backend", "fail", f"{existing} is not writable", remedy)


def _nearest(folder: Path) -> Path:
    """`folder`, or the nearest one above it that exists."""
    return next(p for p in (folder, *folder.parents) if p.exists())


def _credentials(settings: Settings) -> list[Finding]:
    """The plugins refuse Hetzner tokens that are not 64 characters long, Cloudflare's not 40."""
    return [
        _credential("HETZNER_API_TOKEN", settings.hetzner_api_token, length=64),
        _credential("CLOUDFLARE_API_TOKEN", settings.cloudflare_api_token, length=40),
        _credential("CLOUDFLARE_ZONE_ID", settings.cloudflare_zone_id, length=32),
        _credential("ANTHROPIC_API_KEY", settings.anthropic_api_key),
        _passphrase(settings),
    ]


def _passphrase(settings: Settings) -> Finding:
    try:
        settings.passphrase()
    except UsageError as error:
        return Finding("PULUMI_CONFIG_PASSPHRASE", "fail", "not set", f"Do: {error.remedy}.")
    from_file = not settings.pulumi_config_passphrase.get_secret_value()
    return Finding("PULUMI_CONFIG_PASSPHRASE", "ok", "set, by a file" if from_file else "set")


def _credential(name: str, value: SecretStr | str, length: int | None = None) -> Finding:
    count = len(value)
    if count == 0:
        return Finding(name, "fail", "not set", SECRETS)
    if length is not None and count != length:
        detail = f"set, but {count} characters long instead of {length}"
        return Finding(name, "fail", detail, "Copy it again, whole and without spaces.")
    return Finding(name, "ok", "set")


def _hetzner(settings: Settings) -> Finding:
    url = f"{settings.hetzner_endpoint.rstrip('/')}/locations"
    return _endpoint("Hetzner API", url, settings.hetzner_api_token, settings)


def _cloudflare(settings: Settings) -> Finding:
    """Asks for the zone: a token that can't read it is as good as a wrong one."""
    url = f"{settings.cloudflare_base_url.rstrip('/')}/zones/{settings.cloudflare_zone_id}"
    return _endpoint("Cloudflare API", url, settings.cloudflare_api_token, settings)


def _endpoint(check: str, url: str, token: SecretStr, settings: Settings) -> Finding:
    shown = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    if (problem := unreachable(url)) is not None:
        remedy = "Check the endpoint's setting and this machine's connection."
        return Finding(check, "fail", problem, remedy)
    if not token.get_secret_value():
        return Finding(check, "warn", f"{shown} reachable, not asked: no token", SECRETS)
    bearer = {"Authorization": f"Bearer {token.get_secret_value()}"}
    try:
        with urlopen(Request(url, headers=bearer), timeout=settings.clawdet_cloud_timeout_s):
            return Finding(check, "ok", f"{shown} accepts the token")
    except HTTPError as exc:
        refused = exc.code in (401, 403)
        detail = "refuses the token" if refused else "answers"
        remedy = "Make a new token there." if refused else "See whether it works later."
        exc.close()
        return Finding(check, "fail", f"{shown} {detail} (HTTP {exc.code})", remedy)
    except (OSError, ValueError) as exc:
        return Finding(check, "fail", f"{shown}: {exc}", "Check the endpoint's setting.")


def _ssh() -> Finding:
    return _tools("ssh client", ("ssh", "ssh-keyscan"), "openssh-client")


def _machines() -> list[Finding]:
    """Whether Linux machines can be booted here; without, only the pretend clouds' API works."""
    tools = ("systemd-nspawn", "mmdebstrap", "slirp4netns", "ip", "nft", "zstd")
    packages = "systemd-container mmdebstrap slirp4netns iproute2 nftables zstd"
    root = os.geteuid() == 0
    cgroup = Path("/sys/fs/cgroup")
    return [
        Finding("machines: root", "ok", "yes")
        if root
        else Finding("machines: root", "warn", "no", "Run as root to boot real Linux machines."),
        _tools("machines: tools", tools, packages),
        Finding("machines: cgroup", "ok", _cgroup_kind(cgroup))
        if os.access(cgroup, os.W_OK)
        else Finding(
            "machines: cgroup", "warn", f"{cgroup} is not writable", "Mount it, or be root."
        ),
    ]


def _cgroup_kind(cgroup: Path) -> str:
    if (cgroup / "cgroup.controllers").exists():
        return "unified"
    return "hybrid" if (cgroup / "unified").is_dir() else "legacy"


def _tools(check: str, names: Sequence[str], packages: str) -> Finding:
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        remedy = f"Install them: apt-get install {packages}"
        return Finding(check, "warn", f"missing: {', '.join(missing)}", remedy)
    return Finding(check, "ok", ", ".join(names))


def _disk(what: str, folder: Path) -> Finding:
    """A first set-up takes about 8 GB: 4 in Go's caches, 2 in ours, the rest machines."""
    free = shutil.disk_usage(_nearest(folder)).free
    detail = f"{free / GB:.1f} GB free at {folder}"
    status: Status = "fail" if free < GB else "warn" if free < 8 * GB else "ok"
    return Finding(f"disk: {what}", status, detail, "" if status == "ok" else "Make room.")


def _memory(settings: Settings) -> Finding:
    bound = settings.clawdet_max_operations
    detail = f"{bound} operation{'s' if bound != 1 else ''} at once (CLAWDET_MAX_OPERATIONS)"
    return Finding("memory", "ok", detail)


def _render(findings: Sequence[Finding]) -> None:
    rows: list[tuple[str, str, str]] = []
    for finding, following in zip(findings, (*findings[1:], None), strict=True):
        rows.append((finding.status, finding.check, finding.detail))
        if finding.remedy and (following is None or following.remedy != finding.remedy):
            rows.append(("", "", f"→ {finding.remedy}"))
    count = {s: sum(f.status == s for f in findings) for s in ("ok", "warn", "fail")}
    console = terminal.console()
    console.print(terminal.table(rows))
    console.print(f"\n{count['ok']} ok, {count['warn']} to look at, {count['fail']} failed")
