"""Labels of Hetzner's resources."""

from typing import Any

from sandbox.plugins.schema import Field

LABELS = Field("map", items="string")


def labels_of(labels: Any) -> dict[str, str]:
    """Labels as the API takes them."""
    return {key: str(value) for key, value in (labels or {}).items()}
