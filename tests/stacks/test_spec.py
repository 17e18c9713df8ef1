import json
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from stacks.errors import UsageError
from stacks.release import load_release, pack_install
from stacks.settings import Settings
from stacks.spec import check_slug, new_config, renewed_config


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "hetzner_api_token": "h" * 64,
            "cloudflare_api_token": "c" * 40,
            "cloudflare_zone_id": "0" * 32,
            "anthropic_api_key": "sk-ant-1",
            "clawdet_project": tmp_path,
        }
    )


@pytest.mark.parametrize("slug", ["alice", "a", "a-b", "x9", "a" * 40])
def test_a_dns_label_is_a_stack_name(slug: str) -> None:
    assert check_slug(slug) == slug


@pytest.mark.parametrize(
    "slug", ["", "Alice", "a_b", "-a", "a-", "a.b", "../etc", "a" * 41, "é", "a b", "a\n"]
)
def test_what_is_no_dns_label_is_refused_with_an_example(slug: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_slug(slug)
    assert "alice" in caught.value.remedy


@pytest.mark.parametrize("slug", ["www", "api", "admin", "mail", "platform"])
def test_names_of_our_own_are_reserved(slug: str) -> None:
    with pytest.raises(UsageError, match="reserved"):
        check_slug(slug)


def test_two_instances_share_no_secret_of_their_own(settings: Settings) -> None:
    first, second = (new_config(settings, slug, None).secrets for slug in ("alice", "bob"))
    for name in ("gateway_token", "ssh_private_key", "host_private_key", "origin_key"):
        assert getattr(first, name) != getattr(second, name)


def test_user_data_carries_the_pinned_host_key_and_no_other_secret(settings: Settings) -> None:
    config = new_config(settings, "alice", None)
    parsed = yaml.safe_load(config.secrets.user_data)
    assert parsed["ssh_keys"]["ed25519_public"].startswith(config.plain["hostPublicKey"])
    assert parsed["ssh_keys"]["ed25519_private"].strip() == config.secrets.host_private_key.strip()
    for secret in ("gateway_token", "anthropic_api_key", "ssh_private_key", "origin_key"):
        assert getattr(config.secrets, secret) not in config.secrets.user_data


def test_certificate_request_names_the_host(settings: Settings) -> None:
    request = x509.load_pem_x509_csr(
        new_config(settings, "alice", None).plain["certificateRequest"].encode()
    )
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["alice.clawdet.com"]
    assert request.is_signature_valid


def test_renewing_changes_credentials_and_keeps_keys(settings: Settings) -> None:
    old = new_config(settings, "alice", None)
    new = renewed_config(settings.model_copy(update={"clawdet_server_type": "cpx32"}), old, None)
    assert new.plain["serverType"] == "cpx32"
    assert new.secrets == old.secrets
    assert new.plain["hostPublicKey"] == old.plain["hostPublicKey"]


def test_missing_credentials_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="HETZNER_API_TOKEN, CLOUDFLARE_API_TOKEN"):
        new_config(Settings.model_validate({"clawdet_project": tmp_path}), "alice", None)


def test_the_same_folder_packs_to_the_same_archive(tmp_path: Path) -> None:
    folder = tmp_path / "install"
    folder.mkdir()
    (folder / "a.sh").write_text("#!/bin/sh\n")
    (folder / "a.sh").chmod(0o755)
    first = pack_install(folder, tmp_path / "one")
    second = pack_install(folder, tmp_path / "two")
    assert first.digest == second.digest
    assert first.path.read_bytes() == second.path.read_bytes()
    (folder / "a.sh").write_text("#!/bin/sh\necho changed\n")
    assert pack_install(folder, tmp_path / "one").digest != first.digest


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"release": "1", "node": {}})])
def test_a_broken_release_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "release.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"release\.json"):
        load_release(path)
