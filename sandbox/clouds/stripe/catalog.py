"""Products and prices. One product is there from the beginning: Clawdet, 19 euros a month."""

from typing import Annotated, Literal

from pydantic import Field

from sandbox.clouds.store import Document
from sandbox.clouds.stripe.errors import invalid
from sandbox.clouds.stripe.forms import Asked, Entries, Form, Listing, Metadata, merged, read
from sandbox.clouds.stripe.ledger import Ledger, new_id, now
from sandbox.clouds.stripe.listing import page
from sandbox.clouds.stripe.routes import Routes

PRODUCT_ID = "prod_clawdet"
PRICE_ID = "price_clawdet_monthly"
AMOUNT_CENTS = 1900
CURRENCY = "eur"


class Recurring(Form):
    """How often a price is paid."""

    interval: Literal["day", "week", "month", "year"]
    interval_count: Annotated[int, Field(ge=1)] = 1
    usage_type: Literal["licensed"] = "licensed"


class NewProduct(Asked):
    """POST /v1/products"""

    name: str
    id: str | None = None
    active: bool = True
    description: str | None = None
    images: Entries[str] = []
    metadata: Metadata = {}
    tax_code: str | None = None
    unit_label: str | None = None
    url: str | None = None


class ProductChange(Asked):
    """POST /v1/products/:id"""

    name: str | None = None
    active: bool | None = None
    default_price: str | None = None
    description: str | None = None
    metadata: Metadata = {}


class NewPrice(Asked):
    """POST /v1/prices"""

    currency: Annotated[str, Field(pattern="^[a-zA-Z]{3}$")]
    product: str
    unit_amount: Annotated[int, Field(ge=0)]
    active: bool = True
    lookup_key: str | None = None
    metadata: Metadata = {}
    nickname: str | None = None
    recurring: Recurring | None = None
    tax_behavior: Literal["exclusive", "inclusive", "unspecified"] = "unspecified"


class PriceChange(Asked):
    """POST /v1/prices/:id"""

    active: bool | None = None
    lookup_key: str | None = None
    metadata: Metadata = {}
    nickname: str | None = None


class ProductListing(Listing):
    """Filters of the list of products."""

    active: bool | None = None


class PriceListing(ProductListing):
    """Filters of the list of prices."""

    currency: str | None = None
    lookup_keys: Entries[str] = []
    product: str | None = None
    type: Literal["one_time", "recurring"] | None = None


def register(routes: Routes, ledger: Ledger) -> None:
    """Create, retrieve, update and list products and prices."""
    _products(routes, ledger)
    _prices(routes, ledger)


def seed(ledger: Ledger) -> None:
    """Make what the account has from the beginning."""
    if ledger.find("product", PRODUCT_ID) is None:
        ledger.keep(_product(NewProduct(name="Clawdet", id=PRODUCT_ID)))
    if ledger.find("price", PRICE_ID) is None:
        monthly = NewPrice(
            currency=CURRENCY,
            product=PRODUCT_ID,
            unit_amount=AMOUNT_CENTS,
            recurring=Recurring(interval="month"),
        )
        ledger.keep(_price(monthly) | {"id": PRICE_ID})


def _products(routes: Routes, ledger: Ledger) -> None:
    def create() -> Document:
        asked = read(NewProduct)
        if asked.id and ledger.find("product", asked.id):
            raise invalid("Product already exists.", "id", "resource_already_exists")
        return ledger.add(_product(asked))

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get("product", id_)

    def update(id_: str) -> Document:
        return _update(ledger, ledger.get("product", id_), read(ProductChange))

    def listed() -> Document:
        asked = read(ProductListing)
        wanted = asked.model_dump(include={"active"}, exclude_none=True)
        return page(ledger.all("product", **wanted), asked)

    routes.add("POST", "/v1/products", create)
    routes.add("GET", "/v1/products", listed)
    routes.add("GET", "/v1/products/<id_>", retrieve)
    routes.add("POST", "/v1/products/<id_>", update)


def _prices(routes: Routes, ledger: Ledger) -> None:
    def create() -> Document:
        asked = read(NewPrice)
        ledger.get("product", asked.product, "product")
        return ledger.add(_price(asked))

    def retrieve(id_: str) -> Document:
        read(Asked)
        return ledger.get("price", id_)

    def update(id_: str) -> Document:
        return _update(ledger, ledger.get("price", id_), read(PriceChange))

    def listed() -> Document:
        asked = read(PriceListing)
        names = {"active", "currency", "product", "type"}
        found = ledger.all("price", **asked.model_dump(include=names, exclude_none=True))
        keys = asked.lookup_keys
        return page([one for one in found if not keys or one["lookup_key"] in keys], asked)

    routes.add("POST", "/v1/prices", create)
    routes.add("GET", "/v1/prices", listed)
    routes.add("GET", "/v1/prices/<id_>", retrieve)
    routes.add("POST", "/v1/prices/<id_>", update)


def _update(ledger: Ledger, document: Document, asked: ProductChange | PriceChange) -> Document:
    changes = asked.model_dump(include=asked.model_fields_set, exclude={"expand"})
    if "metadata" in changes:
        changes["metadata"] = merged(document["metadata"], asked.metadata)
    if "updated" in document and changes:
        changes["updated"] = now()
    return ledger.change(document, f"{document['object']}.updated", **changes)


def _product(asked: NewProduct) -> Document:
    moment = now()
    return {
        "id": asked.id or new_id("prod", 14),
        "object": "product",
        "active": asked.active,
        "created": moment,
        "default_price": PRICE_ID if asked.id == PRODUCT_ID else None,
        "description": asked.description,
        "images": asked.images,
        "livemode": False,
        "marketing_features": [],
        "metadata": merged({}, asked.metadata),
        "name": asked.name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": asked.tax_code,
        "type": "service",
        "unit_label": asked.unit_label,
        "updated": moment,
        "url": asked.url,
    }


def _price(asked: NewPrice) -> Document:
    recurring = asked.recurring
    return {
        "id": new_id("price"),
        "object": "price",
        "active": asked.active,
        "billing_scheme": "per_unit",
        "created": now(),
        "currency": asked.currency.lower(),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": asked.lookup_key,
        "metadata": merged({}, asked.metadata),
        "nickname": asked.nickname,
        "product": asked.product,
        "recurring": recurring
        and {
            "interval": recurring.interval,
            "interval_count": recurring.interval_count,
            "meter": None,
            "trial_period_days": None,
            "usage_type": recurring.usage_type,
        },
        "tax_behavior": asked.tax_behavior,
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": asked.unit_amount,
        "unit_amount_decimal": str(asked.unit_amount),
    }
