"""Settings of the whole package: frozen, typed, the same for command line, workers and Dagster.

Every value can come from the environment: ``FLOWCRAFT_BACKEND``, ``FLOWCRAFT_HOME``, ``FLOWCRAFT_SYNCHRONOUS``, every
field of :class:`~flowcraft_dagster.runtime.options.RuntimeOptions` as ``FLOWCRAFT_<FIELD>``, and the servers' own
(``KAFKA_BROKERS``, ``CASSANDRA_CONTACT_POINTS``, ``CASSANDRA_DATACENTER``, ``REDIS_URL``, ...; see their models).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from flowcraft_dagster.errors import SettingsError
from flowcraft_dagster.runtime.options import RuntimeOptions

BackendName = Literal["embedded", "kafka", "memory"]
Synchronous = Literal["FULL", "NORMAL"]

ENVIRONMENT_ONLY = ("APP", "BACKEND", "DEBUG", "FAULT", "HOME", "LOG_LEVEL", "SYNCHRONOUS")
"""What follows ``FLOWCRAFT_`` in variables that are no runtime option."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process needs to know.

    Attributes:
        backend: ``embedded`` (SQLite), ``kafka`` (Kafka, Cassandra and Redis) or ``memory`` (this process only).
        home: folder of the embedded backend's data.
        synchronous: ``FULL`` survives a loss of power; ``NORMAL`` may lose the last commits then.
        options: limits and intervals of the runtime.
        environment: where the servers' settings are read from when the ``kafka`` backend is opened.
    """

    backend: BackendName = "embedded"
    home: Path = Path(".flowcraft")
    synchronous: Synchronous = "FULL"
    options: RuntimeOptions = field(default_factory=RuntimeOptions)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read settings from the environment.

        Args:
            environment: names and values; the process's own when None.

        Raises:
            SettingsError: a value cannot be used; names the variable.
        """
        env = dict(os.environ if environment is None else environment)
        return cls(
            backend=_choose("FLOWCRAFT_BACKEND", env.get("FLOWCRAFT_BACKEND") or "embedded", get_args(BackendName)),
            home=find_home(env),
            synchronous=_choose(
                "FLOWCRAFT_SYNCHRONOUS", (env.get("FLOWCRAFT_SYNCHRONOUS") or "FULL").upper(), get_args(Synchronous)
            ),
            options=read_options(env),
            environment=env,
        )

    def for_a_while(self) -> Settings:
        """The same for a worker that leaves for good: it holds no place in the group for one that comes back."""
        return replace(self, environment={**self.environment, "KAFKA_STATIC_MEMBERSHIP": "false"})

    def describe(self) -> dict[str, Any]:
        """The settings for people, without secrets."""
        return {
            "backend": self.backend,
            "home": str(self.home),
            "synchronous": self.synchronous,
            "options": asdict(self.options),
        }


def find_home(env: Mapping[str, str]) -> Path:
    """``FLOWCRAFT_HOME``, else ``$DAGSTER_HOME/flowcraft``, else ``./.flowcraft``.

    A tilde is followed, as Dagster does with its own, so that both mean the same folder where no shell has done it.
    """
    if env.get("FLOWCRAFT_HOME"):
        return Path(os.path.expanduser(env["FLOWCRAFT_HOME"]))
    if env.get("DAGSTER_HOME"):
        return Path(os.path.expanduser(env["DAGSTER_HOME"])) / "flowcraft"
    return Path(".flowcraft")


def read_options(env: Mapping[str, str]) -> RuntimeOptions:
    """Runtime options from ``FLOWCRAFT_<FIELD>`` variables.

    Raises:
        SettingsError: a value is not of the field's type, or not positive.
    """
    values: dict[str, Any] = {}
    default = RuntimeOptions()
    for option in fields(RuntimeOptions):
        name = f"FLOWCRAFT_{option.name.upper()}"
        text = env.get(name)
        if not text:
            continue
        present = getattr(default, option.name)
        if isinstance(present, bool):
            values[option.name] = _choose(name, text.lower(), ("true", "false")) == "true"
            continue
        if isinstance(present, str):
            values[option.name] = _choose(name, text, ("node", "segment"))
            continue
        try:
            number = int(text) if isinstance(present, int) else float(text)
        except ValueError:
            kind = "a whole number" if isinstance(present, int) else "a number"
            raise SettingsError(f"{text!r} is not {kind}", name=name) from None
        if not 0 < number < float("inf"):
            raise SettingsError(f"{text!r} is not a finite number above zero", name=name)
        values[option.name] = number
    return RuntimeOptions(**values)


def _choose(name: str, text: str, choices: tuple[Any, ...]) -> Any:
    if text not in choices:
        raise SettingsError(f"{text!r} is none of {', '.join(map(str, choices))}", name=name)
    return text
