"""The models that can be asked for by name. All of them are the one pretend model."""

from dataclasses import dataclass

from sandbox.clouds.anthropic.errors import ApiError
from sandbox.clouds.store import Document


@dataclass(frozen=True)
class Model:
    """A model as the API lists it; `created` is a date, YYYY-MM-DD."""

    id: str
    display_name: str
    created: str
    aliases: tuple[str, ...] = ()

    def body(self) -> Document:
        """As the API writes it."""
        return {
            "type": "model",
            "id": self.id,
            "display_name": self.display_name,
            "created_at": f"{self.created}T00:00:00Z",
        }


MODELS = (
    Model("claude-opus-4-6", "Claude Opus 4.6", "2026-02-04"),
    Model("claude-sonnet-4-6", "Claude Sonnet 4.6", "2026-02-17"),
    Model("claude-opus-4-5-20251101", "Claude Opus 4.5", "2025-11-24", ("claude-opus-4-5",)),
    Model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "2025-10-15", ("claude-haiku-4-5",)),
    Model("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "2025-09-29", ("claude-sonnet-4-5",)),
)


def find(name: str) -> Model:
    """The model of this id or alias; 404 when there is none."""
    for model in MODELS:
        if name == model.id or name in model.aliases:
            return model
    raise ApiError(404, "not_found_error", f"model: {name}")
