"""A site of Dagster and a worker for as long as tests need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from examples.demo.site import Site


@contextmanager
def run_site(site: Site) -> Iterator[Site]:
    """The site, started and ready; afterwards nothing of it is left."""
    try:
        site.start()
        site.wait_for_worker()
        site.wait_for_dagster()
        yield site
    finally:
        site.processes.end()
        assert site.processes.find() == []
