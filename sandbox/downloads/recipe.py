"""What a maker of an artifact is, and how it fails."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[str], None]
"""Gets one line, to be shown to a person, for each thing that takes more than a second."""


class ArtifactError(Exception):
    """An artifact can't be made; the message says why and what to do."""


@dataclass(frozen=True)
class Recipe:
    """How one artifact is made.

    `file_name`: as the vendor's download site calls it. `key`: changes whenever the file's content
    would. `make(directory, progress)`: makes the file in an empty directory (which it may use for
    scratch) and returns its path, or raises ArtifactError.
    """

    name: str
    version: str
    file_name: str
    key: str
    make: Callable[[Path, Progress], Path]
