"""Server settings from environment variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from flowcraft_dagster.errors import SettingsError

M = TypeVar("M", bound=BaseModel)


def read_settings(model: type[M], prefix: str, environment: Mapping[str, str]) -> M:
    """Fill a settings model from ``<PREFIX>_<FIELD>`` variables; empty ones count as absent.

    Lists are separated by commas; tables, replication and options are JSON objects.

    Args:
        model: the settings.
        prefix: for example ``KAFKA``.
        environment: names and values.

    Raises:
        SettingsError: a value cannot be used. Names the variable and never shows the value of a secret.

    Example:
        >>> from flowcraft_dagster.backends.kafka.settings import KafkaSettings
        >>> read_settings(KafkaSettings, "KAFKA", {"KAFKA_BROKERS": "a:9092,b:9092"}).brokers
        ('a:9092', 'b:9092')
    """
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        variable = f"{prefix}_{name.upper()}"
        text = environment.get(variable)
        if text:
            values[name] = _parse(variable, text.strip(), field.annotation)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = first["loc"]
        variable = f"{prefix}_{str(place[0]).upper()}" if place else prefix
        reason = first["msg"].removeprefix("Value error, ")
        if len(place) > 1:
            reason = f"{'.'.join(map(str, place[1:]))}: {reason}"
        if place:
            raise SettingsError(reason, name=variable) from None
        advice = f"Set the variables that begin with {prefix}_ together; see docs/reference/settings.md."
        raise SettingsError(reason, name=prefix, advice=advice) from None


def _parse(variable: str, text: str, annotation: Any) -> Any:
    if get_origin(annotation) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if not _is_object(annotation):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"is not JSON ({error.msg} at character {error.pos})", name=variable) from None


def _is_object(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    if get_origin(annotation) is dict:
        return True
    return any(get_origin(choice) is dict for choice in getattr(annotation, "__args__", ()))
