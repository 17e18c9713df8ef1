"""A customer who is signed in and whose instance is on its way, straight into the database."""

from dataclasses import dataclass

from webapp import clock
from webapp.accounts.models import SignIn, User
from webapp.database import Database, Encrypted
from webapp.identifiers import hash_token, new_token
from webapp.instances.models import Instance, Operation, Progress
from webapp.settings import WebSettings


@dataclass(frozen=True)
class Customer:
    """The id, and the token for the cookie."""

    user_id: str
    token: str


def make_customer(settings: WebSettings) -> Customer:
    """Also an instance that is being installed, with a log of fifty lines."""
    Encrypted.use_keys(settings.clawdet_encryption_keys)
    db, token, at = Database(settings.clawdet_database_url), new_token(), clock.now()
    with db.begin() as session:
        user = User(
            x_id="1", x_username="bench", x_name="Bench", email="bench@example.com",
            email_verified_at=at, terms_version="2026-11-01", terms_accepted_at=at, slug="bench",
            payment_method="manual", paid_at=at,
        )  # fmt: skip
        session.add(user)
        session.flush()
        session.add(
            SignIn(
                token_hash=hash_token(token),
                user_id=user.id,
                expires_at=at + settings.session_lifetime,
            )
        )
        instance = Instance(
            user_id=user.id, slug="bench", status="installing", observed_generation=1
        )
        session.add(instance)
        session.flush()
        operation = Operation(instance_id=instance.id, kind="up", generation=1)
        session.add(operation)
        session.flush()
        session.add_all(
            Progress(instance_id=instance.id, operation_id=operation.id, text=f"line {n}")
            for n in range(50)
        )
    db.close()
    return Customer(user.id, token)
