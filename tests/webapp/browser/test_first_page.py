"""What the first visit costs."""

from playwright.sync_api import Request

from tests.webapp.browser.visitor import Visitor

MOST_BYTES = 100_000


def test_the_first_page_is_light(visitor: Visitor) -> None:
    finished: list[Request] = []
    visitor.page.on("requestfinished", lambda request: finished.append(request))
    visitor.page.goto(visitor.site.url, wait_until="networkidle")
    sizes = [one.sizes() for one in finished if one.resource_type != "image"]
    assert len(sizes) > 2
    total = sum(size["responseHeadersSize"] + size["responseBodySize"] for size in sizes)
    assert total < MOST_BYTES
    strangers = [one.url for one in finished if not one.url.startswith(visitor.site.url)]
    assert strangers == []
