"""Render one customer's files from the install step's parameters into a directory."""

import html
import json
import sys
from pathlib import Path

import parameters

HERE = Path(__file__).parent


def main() -> None:
    """`render.py DIRECTORY` with the parameters on standard input."""
    directory = Path(sys.argv[1])
    try:
        values = parameters.load(sys.stdin.read())
    except ValueError as error:
        sys.exit(str(error))
    for name, text in render(values).items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def render(values: dict[str, str]) -> dict[str, str]:
    """File contents by relative path."""
    files = {
        "gateway.env": _environment(values),
        "openclaw.json": _openclaw(values),
        "origin.pem": values["origin_certificate"].strip() + "\n",
        "origin.key": values["origin_key"].strip() + "\n",
        "Caddyfile": (HERE / "Caddyfile").read_text().replace("{{hostname}}", values["hostname"]),
    }
    for path in sorted((HERE / "www").iterdir()):
        text = path.read_text()
        for name in ("slug", "hostname", "domain"):
            text = text.replace("{{" + name + "}}", html.escape(values[name]))
        files[f"www/{path.name}"] = text
    return files


def _environment(values: dict[str, str]) -> str:
    """systemd's EnvironmentFile syntax; parameters.py lets no quote or backslash through."""
    pairs = {
        "OPENCLAW_GATEWAY_TOKEN": values["gateway_token"],
        "ANTHROPIC_API_KEY": values["anthropic_api_key"],
    }
    return "".join(f"{name}='{value}'\n" for name, value in pairs.items())


def _openclaw(values: dict[str, str]) -> str:
    """What configure_openclaw.py reads: the release's settings with this customer's in them."""
    package = HERE / "openclaw" / values["release.openclaw.package"]
    config = json.loads((package / "config.json").read_text())
    always = config["always"]
    always["gateway"]["controlUi"]["allowedOrigins"] = [f"https://{values['hostname']}"]
    if values["model_base_url"]:
        always["models"] = {
            "mode": "merge",
            "providers": {
                "anthropic": {
                    "baseUrl": values["model_base_url"],
                    "api": "anthropic-messages",
                    "models": [],
                }
            },
        }
    return json.dumps(config)


if __name__ == "__main__":
    main()
