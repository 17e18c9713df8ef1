"""How Alembic runs our migrations: on the connection that webapp.migrate gives it."""

from alembic import context

from webapp.migrate import is_ours
from webapp.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_object=is_ours,
    compare_type=True,
    render_as_batch=True,  # SQLite can't alter a table in place
)
with context.begin_transaction():
    context.run_migrations()
