"""What the SDK itself answers over the application's own port: a path, and whoever answers there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple


class Asked(NamedTuple):
    """A GET or a HEAD of an endpoint."""

    path: str
    accept: str  # the header Accept
    query: str  # the query string, as it came


class Answer(NamedTuple):
    """What is sent; of a HEAD, all but the body."""

    status: int
    content_type: str
    body: bytes


class Endpoint(ABC):
    """Answers at a path."""

    yields: ClassVar[bool] = False  # to a route that the application has at this path itself

    def now(self, asked: Asked) -> Answer | None:  # noqa: ARG002
        """The answer, if it takes no time (a tenth of a millisecond): it is asked for on an event loop's thread."""
        return None

    @abstractmethod
    def answer(self, asked: Asked) -> Answer:
        """The answer, in a thread that may wait. Never raises."""


class Endpoints:
    """By path. Replaced whole at each change, since servers' threads read it."""

    def __init__(self) -> None:
        self.by_path: dict[str, Endpoint] = {}

    def add(self, path: str, endpoint: Endpoint) -> None:
        """Answers at `path` from now on."""
        self.by_path = {**self.by_path, path: endpoint}

    def remove(self, path: str) -> None:
        """Leaves the path to the application again."""
        self.by_path = {each: endpoint for each, endpoint in self.by_path.items() if each != path}


endpoints = Endpoints()
