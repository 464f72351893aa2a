"""Every right that the production guide names is needed: without it there is an error that says what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import pytest
from confluent_kafka.admin import AclBinding, AclOperation, ResourceType  # type: ignore[attr-defined]

from flowcraft_dagster import Settings
from flowcraft_dagster.backends.distributed import KafkaBackend
from flowcraft_dagster.backends.environment import read_settings
from flowcraft_dagster.backends.kafka.admin import KafkaAdmin
from flowcraft_dagster.backends.kafka.producer import KafkaProducer, Record
from flowcraft_dagster.backends.kafka.reader import KafkaReader
from flowcraft_dagster.backends.kafka.settings import KafkaSettings
from flowcraft_dagster.errors import FlowcraftError, QueueAccessDenied, QueueUnavailable, StoreAccessDenied
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.testing.environment import make_token
from flowcraft_dagster.wiring import make_backend
from tests.integration.secured.administrator import run_cql
from tests.integration.secured.certificates import make_authority
from tests.integration.secured.site import CLIENT, INIT, OPERATOR, READER, WORKER, Site, User, require_clean

PATIENCE: Final = 60.0
USERS: Final[dict[str, User]] = {
    f"User:{name}": user for user in (INIT, WORKER, CLIENT, OPERATOR) if (name := user[0]) is not None
}

Use = Callable[[KafkaSettings], Awaitable[object]]


async def send(settings: KafkaSettings, topic: str) -> None:
    producer = KafkaProducer(settings)
    try:
        await producer.send(topic, [Record(b"nobody", b"no message of ours", partition=0)])
    finally:
        await producer.close()


async def read(settings: KafkaSettings, topic: str) -> None:
    reader = KafkaReader(settings)
    try:
        await reader.read(topic, 0, 0, 1)
    finally:
        await reader.close()


async def ask(settings: KafkaSettings, question: Callable[[KafkaAdmin], Awaitable[object]]) -> None:
    admin = KafkaAdmin(settings)
    try:
        await question(admin)
    finally:
        await admin.close()


async def create(settings: KafkaSettings) -> None:
    """As ``init`` does for topics that are not there yet."""
    name = f"flowcraft-{make_token()}"
    names = {"jobs_topic": name, "letters_topic": f"{name}.dlq", "requests_topic": f"{name}-requests"}
    await ask(settings.model_copy(update=names), lambda admin: admin.create_topics())


def use_of(right: AclBinding) -> Use:
    """Something that its owner does and that needs that very right."""
    settings = KafkaSettings()
    topic = right.name if not right.name.endswith("-") else settings.jobs_topic
    uses: Mapping[tuple[Any, Any], Use] = {
        (ResourceType.TOPIC, AclOperation.WRITE): lambda own: send(own, topic),
        (ResourceType.TOPIC, AclOperation.READ): lambda own: read(own, topic),
        (ResourceType.TOPIC, AclOperation.CREATE): create,
        (ResourceType.TOPIC, AclOperation.DESCRIBE): create,
        (ResourceType.GROUP, AclOperation.READ): lambda own: ask(
            own, lambda admin: admin.read_committed(settings.jobs_topic, [0])
        ),
    }
    return uses[right.restype, right.operation]


async def test_each_right_in_kafka_is_needed(site: Site) -> None:
    def own_settings(user: User) -> KafkaSettings:
        variables = site.variables(user, KAFKA_PARTITIONS="1", KAFKA_REQUEST_SECONDS="2", KAFKA_DELIVERY_SECONDS="5")
        return read_settings(KafkaSettings, "KAFKA", variables)

    # There is something to read.
    await send(own_settings(CLIENT), KafkaSettings().jobs_topic)
    assert len(site.rights) >= 10
    for right in site.rights:
        use, settings = use_of(right), own_settings(USERS[right.principal])
        await await_success(use, settings)
        await asyncio.to_thread(site.administrator.revoke, right)
        denied = await await_denial(use, settings)
        assert f"user '{settings.sasl_username}'" in denied.hint
        assert "docs/howto/production.md" in denied.hint
        await asyncio.to_thread(site.administrator.grant, [right])


async def await_denial(use: Use, settings: KafkaSettings) -> QueueAccessDenied:
    """Brokers hear of a right that is gone a moment later."""
    until = time.monotonic() + PATIENCE
    while True:
        error: QueueUnavailable | None = None
        try:
            await use(settings)
        except QueueAccessDenied as denied:
            return denied
        except QueueUnavailable as silence:
            error = silence
        assert time.monotonic() < until, error or "it works without that right"
        await asyncio.sleep(0.05)


async def await_success(use: Use, settings: KafkaSettings) -> None:
    """Nor do they hear at once of a right that is given back."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            await use(settings)
        except QueueUnavailable:
            assert time.monotonic() < until
        else:
            return
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("user", "right", "error"),
    [
        (WORKER, "SELECT", "no SELECT permission"),
        (WORKER, "MODIFY", "no MODIFY permission"),
        (READER, "SELECT", "no SELECT permission"),
        (INIT, "CREATE", "no CREATE permission"),
    ],
)
def test_each_right_in_cassandra_is_needed(site: Site, user: User, right: str, error: str) -> None:
    uses: Mapping[str, Callable[[], object]] = {
        "SELECT": lambda: look(site, user),
        "MODIFY": lambda: begin(site, user),
        "CREATE": lambda: asyncio.run(create_table(site, user)),
    }
    role = user[1]
    uses[right]()
    run_cql(site.servers, [f"REVOKE {right} ON KEYSPACE flowcraft_ks FROM {role}"])
    try:
        with pytest.raises(StoreAccessDenied, match=error) as raised:
            uses[right]()
    finally:
        run_cql(site.servers, [f"GRANT {right} ON KEYSPACE flowcraft_ks TO {role}"])
    assert raised.value.hint == f"Grant user '{role}' the right: see 'Rights' in docs/howto/production.md."
    uses[right]()


def look(site: Site, user: User) -> None:
    with site.client(user) as client:
        client.runs()


def begin(site: Site, user: User) -> None:
    with site.client(user) as client:
        client.start("chain", {}, run_id=f"run-{make_token()}")


async def create_table(site: Site, user: User) -> None:
    changes = {"CASSANDRA_TABLES": f'{{"deaths": "deaths_{make_token()}"}}'}
    backend = make_backend(Settings.from_env(site.variables(user, **changes)), SystemClock())
    try:
        await backend.create_schema()
    finally:
        await backend.close()


def test_a_worker_without_a_right_says_so_and_works_once_it_has_it(site: Site) -> None:
    (right,) = [
        right
        for right in site.rights
        if right.principal == f"User:{WORKER[0]}" and right.restype == ResourceType.GROUP
    ]
    log = site.folder / "worker-without-right.log"
    site.administrator.revoke(right)
    try:
        with site.worker(WORKER, log), site.client(CLIENT) as client:
            run_id = client.start("chain", {}, run_id=f"run-{make_token()}")
            until = time.monotonic() + PATIENCE
            while f"Grant user '{WORKER[0]}' the right" not in log.read_text(encoding="utf-8"):
                assert time.monotonic() < until, log.read_text(encoding="utf-8")
                time.sleep(0.1)
            site.administrator.grant([right])
            assert client.wait(run_id, PATIENCE).status == "completed"
    finally:
        site.administrator.grant([right])


WRONG: Final = "wrong-secret-of-this-test"


async def test_a_wrong_password_or_certificate_is_named(site: Site) -> None:
    """All at once: Kafka tells nothing until the time of a request is over."""
    other = str(make_authority(site.folder / "another-authority"))
    kafka_port, credentials = site.servers.kafka, "Check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD."
    certificate = "KAFKA_TLS_CA_FILE holds the authority"

    async def list_letters(backend: KafkaBackend) -> None:
        await backend.dead_letters.list_letters(1)

    async def request(backend: KafkaBackend) -> None:
        await backend.requests.send_requests([b"{}"])

    async def connect(backend: KafkaBackend) -> None:
        await backend.open()

    cases: list[tuple[Callable[[KafkaBackend], Awaitable[None]], type[FlowcraftError], str, dict[str, str]]] = [
        (list_letters, QueueAccessDenied, credentials, {"KAFKA_SASL_PASSWORD": WRONG}),
        (request, QueueAccessDenied, credentials, {"KAFKA_SASL_PASSWORD": WRONG}),
        (request, QueueAccessDenied, credentials, {"KAFKA_SASL_PASSWORD": WRONG, "KAFKA_SASL_MECHANISM": "PLAIN"}),
        (list_letters, QueueAccessDenied, certificate, {"KAFKA_TLS_CA_FILE": other}),
        (request, QueueAccessDenied, certificate, {"KAFKA_TLS_CA_FILE": other}),
        (request, QueueAccessDenied, certificate, {"KAFKA_BROKERS": f"localhost:{kafka_port}"}),
        (connect, StoreAccessDenied, "Check CASSANDRA_USERNAME and", {"CASSANDRA_PASSWORD": WRONG}),
        (connect, StoreAccessDenied, "CASSANDRA_TLS_CA_FILE holds the authority", {"CASSANDRA_TLS_CA_FILE": other}),
    ]

    async def fail(use: Callable[[KafkaBackend], Awaitable[None]], changes: dict[str, str]) -> FlowcraftError:
        short = {"KAFKA_REQUEST_SECONDS": "4", "KAFKA_DELIVERY_SECONDS": "4", **changes}
        backend = KafkaBackend.from_env(site.variables(OPERATOR, **short))
        try:
            with pytest.raises(FlowcraftError) as raised:
                await use(backend)
        finally:
            await backend.close()
        return raised.value

    found = await asyncio.gather(*(fail(use, changes) for use, _, _, changes in cases))
    for (_, kind, hint, changes), error in zip(cases, found, strict=True):
        assert type(error) is kind, (changes, error)
        assert hint in error.hint, changes
        require_clean(f"{error} {error.hint}")
        assert WRONG not in f"{error} {error.hint}"


async def test_other_ways_in_that_the_settings_allow(site: Site) -> None:
    changes = {
        "KAFKA_BROKERS": f"localhost:{site.servers.kafka}",
        "KAFKA_TLS_CHECK_HOSTNAME": "false",
        "KAFKA_SASL_MECHANISM": "PLAIN",
    }
    admin = KafkaAdmin(read_settings(KafkaSettings, "KAFKA", site.variables(OPERATOR, **changes)))
    try:
        assert await admin.describe_topic(KafkaSettings().jobs_topic) is not None
    finally:
        await admin.close()


async def test_a_store_that_demands_tls_is_suspected(site: Site) -> None:
    backend = KafkaBackend.from_env(site.variables(READER, CASSANDRA_TLS="false"))
    with pytest.raises(FlowcraftError, match="if it demands TLS, set CASSANDRA_TLS=true"):
        await backend.open()
    await backend.close()


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"REDIS_PASSWORD": WRONG}, "Check REDIS_USERNAME and REDIS_PASSWORD"),
        ({"REDIS_TLS_CA_FILE": "/etc/ssl/certs/ca-certificates.crt"}, "REDIS_TLS_CA_FILE holds the authority"),
        ({"REDIS_PREFIX": "foreign"}, "Grant user 'flowcraft' the right"),
    ],
)
async def test_redis_says_what_to_check(site: Site, changes: dict[str, str], advice: str) -> None:
    backend = KafkaBackend.from_env(site.variables(CLIENT, **changes))
    try:
        trouble = await backend.coordination.check_health()
        assert trouble is not None
        assert advice in trouble
        assert WRONG not in trouble
    finally:
        await backend.close()


def test_commands_show_the_error_in_one_line(site: Site) -> None:
    done = site.command(READER, "runs", CASSANDRA_PASSWORD=WRONG)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no access to state store cassandra (127.0.0.1:")
    assert line.endswith("Check CASSANDRA_USERNAME and CASSANDRA_PASSWORD.")
    assert WRONG not in line
    denied = site.command(CLIENT, "dead-letters", "list")
    assert (denied.returncode, denied.stdout) == (1, "")
    assert denied.stderr.startswith("error: no access to job queue flowcraft-jobs.dlq: ")
    missing = site.command(CLIENT, "request", "chain", KAFKA_TLS_CA_FILE="/no/such.pem")
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: setting KAFKA_TLS_CA_FILE: /no/such.pem cannot be read")
