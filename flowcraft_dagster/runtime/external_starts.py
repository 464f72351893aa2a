"""Starting a run that another program announced: a job in our queue, rows in a layout that is not ours.

The first worker that sees such a job copies the initial context and starts the run under the announced id, as a client
would. From then on it is a run like any other; a second job for it, or a second worker, starts nothing twice.
"""

from __future__ import annotations

from flowcraft_dagster.engine.json_codec import decode
from flowcraft_dagster.errors import SerializationError
from flowcraft_dagster.ports.external import ExternalStarts
from flowcraft_dagster.runtime.client import AsyncClient, StartRequest
from flowcraft_dagster.runtime.messages import JobMessage


async def start_external_run(client: AsyncClient, source: ExternalStarts, job: JobMessage) -> bool:
    """Start the run that a job was made for.

    Args:
        client: starts it.
        source: where its initial context is.
        job: names run and blueprint.

    Returns:
        Whether it was started; False where its rows are not there (yet).

    Raises:
        UnknownBlueprint: this app does not have the blueprint.
        SerializationError, SizeLimitExceeded: the context cannot be used.
        InfrastructureError: a server is away.
    """
    if not job.blueprint_id:
        return False
    data = await source.read_context(job.run_id)
    if data is None:
        return False
    try:
        context = decode(data)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f": {error}", path=f"external context of run '{job.run_id}'", kind="text") from None
    await client.start(StartRequest(job.blueprint_id, context, job.run_id))
    return True
