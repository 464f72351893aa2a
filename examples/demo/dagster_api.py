"""Asking a Dagster web server by GraphQL, as its UI does."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LOCATION: Final = "flowcraft_dagster"

_LOCATION_QUERY: Final = """
query Location($name: String!) {
  workspaceLocationEntryOrError(name: $name) {
    __typename
    ... on WorkspaceLocationEntry { loadStatus locationOrLoadError { __typename ... on PythonError { message } } }
  }
}
"""
_LAUNCH: Final = """
mutation Launch($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
  }
}
"""
_RUN_QUERY: Final = "query Run($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } } }"
_DROP: Final = """
mutation Drop($id: String!) {
  terminateRun(runId: $id, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename }
}
"""
_EVENTS_QUERY: Final = """
query Events($path: [String!]!) {
  assetOrError(assetKey: {path: $path}) {
    __typename
    ... on Asset { assetMaterializations(limit: 1000) { runId timestamp metadataEntries {
      label
      __typename
      ... on IntMetadataEntry { intRepr }
      ... on FloatMetadataEntry { floatValue }
      ... on TextMetadataEntry { text }
      ... on JsonMetadataEntry { jsonString }
    } } }
  }
}
"""


class DagsterApiError(Exception):
    """Dagster does not answer, or not with what was asked for."""


@dataclass(frozen=True)
class Materialization:
    """A materialization of an asset.

    Attributes:
        run_id: the Dagster run that reported it; empty where a sensor did.
        moment: milliseconds since 1970 UTC, by which the UI knows it.
        metadata: plain values by label; entries of other kinds are None.
    """

    run_id: str
    moment: int
    metadata: Mapping[str, Any]


class DagsterApi:
    """A web server on this machine.

    Args:
        port: its port on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The data of an answer.

        Args:
            query: GraphQL with one top-level field.
            variables: for the query.

        Raises:
            DagsterApiError: there is no answer, or it tells of an error.
        """
        body = json.dumps({"query": query, "variables": variables})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DagsterApiError(f"no answer from Dagster on port {self.port}: {error}") from error
        finally:
            connection.close()
        if answer.get("errors"):
            raise DagsterApiError("; ".join(str(error.get("message")) for error in answer["errors"]))
        (data,) = answer["data"].values()
        return dict(data)

    def is_loaded(self) -> bool:
        """Whether the code location is there.

        Raises:
            DagsterApiError: no answer yet, or its definitions cannot be loaded.
        """
        entry = self.ask(_LOCATION_QUERY, {"name": LOCATION})
        if entry.get("loadStatus") != "LOADED" or entry["locationOrLoadError"] is None:
            return False
        if entry["locationOrLoadError"]["__typename"] != "RepositoryLocation":
            raise DagsterApiError(f"location {LOCATION}: {entry['locationOrLoadError'].get('message')}")
        return True

    def launch(self, job: str, config: Mapping[str, Any]) -> str:
        """Launch a job, as the Launchpad does; returns the id of the Dagster run.

        Raises:
            DagsterApiError: it was refused; says why.
        """
        selector = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__", "jobName": job}
        parameters = {"selector": selector, "mode": "default", "runConfigData": json.dumps(config)}
        answer = self.ask(_LAUNCH, {"parameters": parameters})
        if answer["__typename"] != "LaunchRunSuccess":
            raise DagsterApiError(f"job {job} was not launched: {answer}")
        return str(answer["run"]["runId"])

    def run_status(self, run_id: str) -> str:
        """Status of a Dagster run: ``QUEUED``, ``STARTED``, ``SUCCESS``, ``FAILURE`` and others."""
        return str(self.ask(_RUN_QUERY, {"id": run_id}).get("status"))

    def drop(self, run_id: str) -> None:
        """Mark a Dagster run whose process is gone as cancelled, as *Force termination* does in the UI.

        Raises:
            DagsterApiError: it was refused; says why.
        """
        answer = self.ask(_DROP, {"id": run_id})
        if answer["__typename"] != "TerminateRunSuccess":
            raise DagsterApiError(f"run {run_id} was not marked as cancelled: {answer}")

    def materializations(self, path: Sequence[str]) -> list[Materialization]:
        """Materializations of an asset, the latest first; none where it has no event yet.

        Args:
            path: the asset's key.
        """
        asset = self.ask(_EVENTS_QUERY, {"path": list(path)})
        return [
            Materialization(
                event["runId"],
                int(event["timestamp"]),
                {entry["label"]: _read_value(entry) for entry in event["metadataEntries"]},
            )
            for event in asset.get("assetMaterializations", ())
        ]


def _read_value(entry: Mapping[str, Any]) -> Any:
    match entry["__typename"]:
        case "IntMetadataEntry":
            return int(entry["intRepr"])
        case "FloatMetadataEntry":
            return entry["floatValue"]
        case "TextMetadataEntry":
            return entry["text"]
        case "JsonMetadataEntry":
            return json.loads(entry["jsonString"])
    return None
