"""Java, and the published jars of Kafka and Cassandra, fetched once by Maven into a cache folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Container, Iterator
from pathlib import Path

from stack_servers.errors import StackError

_POM = """\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>flowcraft</groupId>
  <artifactId>stack</artifactId>
  <version>1</version>
  <dependencies>
{dependencies}
  </dependencies>
</project>
"""
_DEPENDENCY = """\
    <dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"""


def cache_folder() -> Path:
    """Where jars are kept: ``FLOWCRAFT_STACK_CACHE``, else ``~/.cache/flowcraft-dagster/stack``."""
    named = os.environ.get("FLOWCRAFT_STACK_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "flowcraft-dagster" / "stack"


def fetch_jars(*artifacts: str) -> Path:
    """The folder with the jars of some Maven artifacts and of all they depend on.

    Args:
        artifacts: ``group:artifact:version``; the first one names the folder.

    Raises:
        StackError: Maven is missing or fails.
    """
    _, name, version = artifacts[0].split(":")
    folder = cache_folder() / f"{name}-{version}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        message = "Maven (mvn) is missing; on Debian: apt-get install maven"
        raise StackError(message)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Fetched beside its place and then renamed, so that a folder that is there is complete.
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        pom = Path(draft, "pom.xml")
        dependencies = "\n".join(_DEPENDENCY.format(*artifact.split(":")) for artifact in artifacts)
        pom.write_text(_POM.format(dependencies=dependencies), encoding="utf-8")
        fetched = Path(draft, "jars")
        command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        done = subprocess.run([*command, f"-DoutputDirectory={fetched}"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            message = f"Maven could not fetch {', '.join(artifacts)}:\n{(done.stdout + done.stderr)[-2000:]}"
            raise StackError(message)
        try:
            fetched.rename(folder)
        except OSError:
            # Another command finished the same folder first.
            if not folder.is_dir():
                raise
    return folder


def find_java(versions: Container[int], purpose: str) -> str:
    """A ``java`` program of one of some major versions.

    Looked for in ``JAVA_HOME``, in ``PATH``, and where Debian installs them.

    Raises:
        StackError: there is none.
    """
    found: list[str] = []
    for program in _java_programs():
        version = _major_version(program)
        if version in versions:
            return program
        found.append(f"{program} is version {version}")
    message = f"{purpose}; found: {', '.join(found) or 'no java'}. On Debian: apt-get install openjdk-17-jre-headless"
    raise StackError(message)


def _java_programs() -> Iterator[str]:
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home, "bin", "java")] if home else []
    in_path = shutil.which("java")
    candidates += [Path(in_path)] if in_path else []
    candidates += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    for candidate in dict.fromkeys(path.resolve() for path in candidates if path.is_file()):
        yield str(candidate)


def _major_version(program: str) -> int:
    printed = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(?:1\.)?(\d+)', printed)
    return int(match.group(1)) if match else 0
