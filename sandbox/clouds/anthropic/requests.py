"""What a Messages request must look like.

Fields that don't change the answer (tools, thinking, metadata, …) are accepted as they come.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Block(BaseModel):
    """A content block; the type says which other fields count."""

    model_config = ConfigDict(extra="allow")
    type: str
    text: str = ""
    content: "str | list[Block]" = ""

    def words(self) -> str:
        """The text in it: its own, or a tool result's."""
        if self.type == "tool_result":
            return _words(self.content)
        return self.text if self.type == "text" else ""


Content = Annotated[str | list[Block], Field(union_mode="left_to_right")]


class Message(BaseModel):
    """One turn."""

    role: Literal["user", "assistant"]
    content: Content


class Tool(BaseModel):
    """A tool that is offered to the model; the pretend model uses none."""

    model_config = ConfigDict(extra="allow")
    name: Annotated[str, Field(min_length=1, max_length=128)]


class MessagesRequest(BaseModel):
    """The body of POST /v1/messages."""

    model_config = ConfigDict(extra="allow", strict=True)
    model: Annotated[str, Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    messages: Annotated[list[Message], Field(min_length=1)]
    system: Content = ""
    stream: bool = False
    tools: list[Tool] = []
    temperature: Annotated[float, Field(ge=0, le=1)] = 1.0

    def last_user_text(self) -> str:
        """The text of the last user turn; empty when it has none."""
        turns = [turn for turn in self.messages if turn.role == "user"]
        return _words(turns[-1].content) if turns else ""

    def all_text(self) -> str:
        """Every text the model would read."""
        texts = [_words(self.system), *(_words(turn.content) for turn in self.messages)]
        return "\n".join(texts)


def explain(error: ValidationError) -> str:
    """The first thing wrong, in the vendor's form ("max_tokens: Field required")."""
    first: Any = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _words(content: str | list[Block]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(text for block in content if (text := block.words()))
