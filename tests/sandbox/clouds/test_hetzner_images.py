import pytest
from hcloud import APIException
from hcloud.images import Image
from hcloud.server_types import ServerType

from sandbox.clouds.world import World
from tests.sandbox.clouds.conftest import Admin
from tests.sandbox.clouds.hetzner_steps import Loose, make_server


def take_snapshot(server: Loose, description: str = "golden") -> Loose:
    response = server.create_image(description=description, labels={"golden": "yes"})
    response.action.wait_until_finished()
    return response.image


def test_the_system_image_is_found_as_the_official_plugin_asks(client: Loose) -> None:
    image = client.images.get_by_name_and_architecture(
        "ubuntu-24.04", "x86", include_deprecated=True
    )
    assert (image.id, image.type, image.os_flavor) == (161547269, "system", "ubuntu")
    assert client.images.get_by_id(image.id).name == "ubuntu-24.04"


def test_images_can_be_filtered(client: Loose) -> None:
    names = {image.name for image in client.images.get_all()}
    assert "ubuntu-20.04" not in names
    deprecated = client.images.get_all(name="ubuntu-20.04", include_deprecated=True)[0]
    assert deprecated.deprecation.announced is not None
    assert [i.id for i in client.images.get_all(architecture=["arm"])] == [161547270]
    assert client.images.get_all(type=["snapshot"]) == []


def test_a_snapshot_is_made_from_a_server(client: Loose) -> None:
    server = make_server(client)
    image = take_snapshot(server)
    image.reload()
    assert (image.type, image.status, image.description) == ("snapshot", "available", "golden")
    assert image.created_from.id == server.id and image.bound_to is None
    assert image.disk_size == 80 and image.image_size is not None
    assert [i.id for i in client.images.get_all(label_selector="golden=yes")] == [image.id]
    assert not client.servers.get_by_id(server.id).locked


def test_a_server_starts_from_a_snapshot(client: Loose) -> None:
    image = take_snapshot(make_server(client, "alice"))
    assert make_server(client, "bob", image=image).image.id == image.id


def test_a_snapshot_survives_its_server(client: Loose) -> None:
    server = make_server(client)
    image = take_snapshot(server)
    server.delete().wait_until_finished()
    assert client.images.get_by_id(image.id).status == "available"


def test_an_image_that_is_being_made_cannot_be_used_or_deleted(client: Loose, admin: Admin) -> None:
    server = make_server(client)
    admin("PUT", "/hetzner/action-seconds", {"seconds": 30})
    response = server.create_image(description="slow")
    assert response.image.status == "creating"
    assert client.servers.get_by_id(server.id).locked
    assert client.servers.get_by_id(server.id).status == "running"
    with pytest.raises(APIException, match="being created"):
        response.image.delete()
    with pytest.raises(APIException, match="not available yet"):
        make_server(client, "bob", image=response.image)


def test_a_snapshot_too_large_for_the_disk_is_refused(client: Loose) -> None:
    image = take_snapshot(make_server(client, "alice"))
    with pytest.raises(APIException, match="image disk is bigger") as error:
        make_server(client, "bob", image=image, server_type=ServerType(name="cx23"))
    assert error.value.code == "invalid_input"


def test_a_snapshot_can_be_changed_protected_and_deleted(client: Loose) -> None:
    image = take_snapshot(make_server(client))
    image.update(description="older", labels={})
    assert client.images.get_by_id(image.id).description == "older"
    image.change_protection(delete=True).wait_until_finished()
    with pytest.raises(APIException) as error:
        image.delete()
    assert error.value.code == "protected"
    image.change_protection(delete=False).wait_until_finished()
    image.delete()
    with pytest.raises(APIException, match=r"image with ID .* not found"):
        client.images.get_by_id(image.id)


def test_a_backup_can_be_kept_as_a_snapshot(client: Loose) -> None:
    server = make_server(client)
    server.enable_backup().wait_until_finished()
    backup = server.create_image(type="backup")
    backup.action.wait_until_finished()
    backup.image.update(type="snapshot")
    server.delete().wait_until_finished()
    assert client.images.get_by_id(backup.image.id).type == "snapshot"


def test_backups_go_with_their_server(client: Loose) -> None:
    server = make_server(client)
    server.enable_backup().wait_until_finished()
    server.create_image(type="backup").action.wait_until_finished()
    server.delete().wait_until_finished()
    assert client.images.get_all(type=["backup"]) == []


def test_system_images_cannot_be_changed(client: Loose) -> None:
    image = client.images.get_by_id(161547269)
    for ask in (image.delete, lambda: image.update(description="mine")):
        with pytest.raises(APIException) as error:
            ask()
        assert error.value.code == "forbidden"


def test_a_snapshot_that_fails_leaves_no_image(client: Loose, world: World) -> None:
    server = make_server(client)
    world.machines.delete(server.id)
    response = server.create_image(description="nothing there")
    with pytest.raises(Exception, match="there is no machine"):
        response.action.wait_until_finished()
    assert client.images.get_all(type=["snapshot"]) == []


def test_an_unknown_snapshot_is_not_found(client: Loose) -> None:
    with pytest.raises(APIException) as error:
        make_server(client, image=Image(id=77))
    assert error.value.code == "not_found"
