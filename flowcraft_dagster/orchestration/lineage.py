"""Keeping the asset graph free of cycles: Dagster loads one with a cycle, and then stops the location's automation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import dagster as dg

N = TypeVar("N", bound=Hashable)


def cut_cycles(specs: Mapping[N, dg.AssetSpec]) -> tuple[dict[N, dg.AssetSpec], list[N]]:
    """Take the lineage from assets that would close a cycle.

    Args:
        specs: assets by any name.

    Returns:
        The assets, and the names of those whose ``deps`` were taken away.

    Example:
        >>> specs = {"a": dg.AssetSpec("a", deps=["b"]), "b": dg.AssetSpec("b", deps=["a"])}
        >>> cut_cycles(specs)[1]
        ['b']
    """
    sources: dict[dg.AssetKey, set[dg.AssetKey]] = {}
    kept: dict[N, dg.AssetSpec] = {}
    cut: list[N] = []
    for name, spec in specs.items():
        deps = {dep.asset_key for dep in spec.deps}
        if _reaches(deps, spec.key, sources):
            spec, deps = spec.replace_attributes(deps=[]), set()
            cut.append(name)
        sources[spec.key] = deps
        kept[name] = spec
    return kept, cut


def _reaches(begin: set[dg.AssetKey], wanted: dg.AssetKey, sources: Mapping[dg.AssetKey, set[dg.AssetKey]]) -> bool:
    """Whether ``wanted`` lies upstream of one of ``begin``, or is one of them."""
    seen: set[dg.AssetKey] = set()
    left = list(begin)
    while left:
        key = left.pop()
        if key == wanted:
            return True
        if key not in seen:
            seen.add(key)
            left += sources.get(key, ())
    return False
