"""What the fleet is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from workers.fleet.errors import NotConfigured

PREFIX = "FLEET_"


@dataclass(frozen=True)
class Settings:
    """Each has its variable, FLEET_URL and so on; only the Redis is the app's own, REDIS_URL."""

    url: str = field(metadata={"text": "the API, https://api.spacetraders.io/v2 or what the universe prints"})
    token: str = field(repr=False, metadata={"text": "the agent's token"})
    rate: float = field(default=2.0, metadata={"text": "requests a second, of all processes together"})
    burst: int = field(default=2, metadata={"text": "requests at once, after a pause"})
    connect_timeout: float = field(default=3.0, metadata={"text": "seconds for a connection"})
    read_timeout: float = field(default=10.0, metadata={"text": "seconds for an answer"})
    patience: float = field(default=5.0, metadata={"text": "seconds for which nobody calls an API that is overloaded"})
    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False, metadata={"text": "keeps the limit"})

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise NotConfigured(f"{PREFIX}URL must begin with http:// or https://, not {self.url!r}.")
        for name in ("rate", "burst", "connect_timeout", "read_timeout", "patience"):
            if not getattr(self, name) > 0:
                raise NotConfigured(f"{PREFIX}{name.upper()} must be above 0.")
        if not self.redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise NotConfigured("Set REDIS_URL to a Redis: it keeps the one limit of requests for all processes.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        names = {setting.name: f"{PREFIX}{setting.name.upper()}" for setting in fields(cls)}
        names["redis_url"] = "REDIS_URL"
        given = {name: environment[variable] for name, variable in names.items() if environment.get(variable)}
        for setting in fields(cls):
            if setting.name not in given and setting.name in ("url", "token"):
                raise NotConfigured(f"Set {names[setting.name]}: {setting.metadata['text']}.")
        return cls(**{name: number(names[name], value) for name, value in given.items()})


def number(variable: str, value: str) -> Any:
    """Texts stay texts: only the numbers' own variables are read as numbers."""
    kinds = {f"{PREFIX}{setting.name.upper()}": setting.type for setting in fields(Settings)}
    kind = kinds.get(variable, str)
    try:
        return kind(value) if callable(kind) else value
    except ValueError:
        raise NotConfigured(f"{variable} is no number: {value!r}") from None
