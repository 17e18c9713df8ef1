"""How the parts of the service say which request goes where."""

from collections.abc import Callable

from flask.typing import ResponseReturnValue

View = Callable[..., ResponseReturnValue]
Routes = list[tuple[str, str, View]]
"""Method, rule and view; rules are relative to the API's root."""
