"""Cassandra's configuration files and command line for one node on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stack_servers.errors import StackError
from stack_servers.ports import LOOPBACK

_CONFIG = """\
cluster_name: flowcraft-cluster
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "{loopback}:{storage}"
listen_address: {loopback}
storage_port: {storage}
ssl_storage_port: {ssl_storage}
rpc_address: {loopback}
native_transport_port: {client}
auto_bootstrap: false
auto_snapshot: false
hinted_handoff_enabled: false
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_disk_access_mode: legacy
commitlog_directory: {folder}/commitlog
data_file_directories: ["{folder}/data"]
hints_directory: {folder}/hints
saved_caches_directory: {folder}/saved_caches
cdc_raw_directory: {folder}/cdc_raw
"""

_LOGGING = """\
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""

# The module options of Cassandra's own file for Java 17: what it reaches into, by module.
_EXPORTS = {
    "java.base": "jdk.internal.misc jdk.internal.ref sun.nio.ch java.lang.ref",
    "java.management.rmi": "com.sun.jmx.remote.internal.rmi",
    "java.rmi": "sun.rmi.registry sun.rmi.server",
    "java.sql": "java.sql",
    "jdk.unsupported": "sun.misc",
    "jdk.compiler": "com.sun.tools.javac.file",
}
_OPENS = {
    "java.base": (
        "java.lang java.lang.module java.io java.net java.nio java.util java.util.concurrent"
        " java.util.concurrent.atomic sun.nio.ch jdk.internal.loader jdk.internal.ref jdk.internal.reflect"
        " jdk.internal.math jdk.internal.module jdk.internal.util.jar"
    ),
    "jdk.management": "com.sun.management.internal",
    "java.rmi": "sun.rmi.transport.tcp",
}


def write(folder: Path, ports: Mapping[str, int], *, java: str, jars: Path) -> list[str]:
    """Write the configuration of a node.

    Args:
        folder: the node's folder; its data goes there too.
        ports: ``client``, ``storage`` and ``ssl_storage``.
        java: the Java program.
        jars: the folder with Cassandra's jars.

    Returns:
        The node's command line. JMX stays closed: no port for it is given.
    """
    agents = sorted(jars.glob("jamm-*.jar"))
    if not agents:
        message = f"{jars} has no jamm jar; remove the folder, then it is fetched again"
        raise StackError(message)
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    config = conf / "cassandra.yaml"
    config.write_text(_CONFIG.format(loopback=LOOPBACK, folder=folder, **ports), encoding="utf-8")
    (conf / "logback.xml").write_text(_LOGGING, encoding="utf-8")
    properties = {
        "cassandra.config": config.as_uri(),
        "cassandra.storagedir": str(folder),
        "cassandra-foreground": "yes",
        "cassandra.skip_wait_for_gossip_to_settle": "0",
        "cassandra.ring_delay_ms": "100",
        "cassandra.superuser_setup_delay_ms": "0",
        "cassandra.shutdown_announce_in_ms": "0",
        "java.security.manager": "allow",
        "jdk.attach.allowAttachSelf": "true",
    }
    return [
        java,
        "-Xms768m",
        "-Xmx768m",
        f"-javaagent:{agents[0]}",
        *_module_options("--add-exports", _EXPORTS),
        *_module_options("--add-opens", _OPENS),
        *(f"-D{key}={value}" for key, value in properties.items()),
        "-cp",
        f"{conf}:{jars}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]


def _module_options(option: str, packages: Mapping[str, str]) -> list[str]:
    return [f"{option}={module}/{name}=ALL-UNNAMED" for module, names in packages.items() for name in names.split()]
