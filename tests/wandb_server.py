"""A stand-in for the server of Weights & Biases, on loopback, for tests through the real client.

    with WandbServer([{"x": 0.1}, {"x": 0.9}]) as server:
        server.environment()     # what the client needs to find it

It answers the calls that a sweep and its runs make, and keeps what they sent.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, PROJECT, SWEEP = "tester", "digits", "sweep1"


class WandbServer:
    """The server, running while a `with` block does.

    Parameters
    ----------
    proposals : parameters of the runs that the sweep hands out, in order; then it tells agents to exit.
    stops : runs (from 0) that are told to stop, and at which heartbeat of theirs (from 1).

    Attributes
    ----------
    sweeps : configurations of the sweeps that were made.
    agents : how many agents signed on.
    runs : run id -> {"config", "group", "sweep", "rows", "summary", "exitcode"}.
    handed_out : ids of the runs that agents were given, in order.
    calls : names of the GraphQL operations, in order.
    """

    def __init__(
        self,
        proposals: Sequence[Mapping[str, Any]] = (),
        stops: Mapping[int, int] | None = None,
    ) -> None:
        self.proposals, self.stops = list(proposals), dict(stops or {})
        self.sweeps: list[dict[str, Any]] = []
        self.agents = 0
        self.runs: dict[str, dict[str, Any]] = {}
        self.handed_out: list[str] = []
        self.beats: dict[str, int] = {}
        self.calls: list[str] = []
        self.unknown: list[str] = []
        self._lock = threading.Lock()

    def __enter__(self) -> WandbServer:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                with owner._lock:
                    answer = owner.answer(self.path, json.loads(body or b"{}"))
                self.reply(answer)

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.reply({})

            def do_GET(self) -> None:
                self.reply({})

            def reply(self, answer: dict[str, Any]) -> None:
                content = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                pass  # a client that ends resets its connections

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self) -> dict[str, str]:
        """Variables with which the client finds this server and no other."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40, "WANDB_ERROR_REPORTING": "false"}

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/file_stream"):
            return self._file_stream(path.split("/")[-2], body)
        query, variables = body.get("query", ""), body.get("variables") or {}
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = found.group(1) if found else ""
        self.calls.append(name)
        answer = getattr(self, f"_answer_{name}", None)
        if answer is None:
            self.unknown.append(name)
            return {"data": {}}
        return {"data": answer(variables)}

    def _answer_Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        viewer = {"id": "user", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}
        return {"viewer": viewer}

    def _answer_ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _answer_UpsertSweep(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.sweeps.append(variables)
        project = {"id": "project", "name": PROJECT, "entity": {"id": "entity", "name": ENTITY}}
        return {"upsertSweep": {"sweep": {"name": SWEEP, "project": project}, "configValidationWarnings": []}}

    def _answer_CreateAgent(self, _: dict[str, Any]) -> dict[str, Any]:
        self.agents += 1
        # An agent that ends may have been given a run that it never starts: the next one gets it.
        while self.handed_out and self.handed_out[-1] not in self.runs:
            self.handed_out.pop()
        return {"createAgent": {"agent": {"id": f"agent{self.agents}"}}}

    def _answer_Heartbeat(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {
            "agentHeartbeat": {
                "agent": {"id": variables["id"]},
                "commands": json.dumps(self._commands(variables)),
            }
        }

    def _commands(self, variables: dict[str, Any]) -> list[dict[str, Any]]:
        running = json.loads(variables.get("runState") or "{}")
        for run_id in running:
            self.beats[run_id] = self.beats.get(run_id, 0) + 1
            if self.beats[run_id] == self.stops.get(self.handed_out.index(run_id)):
                return [{"type": "stop", "run_id": run_id}]
        if running:
            return []
        number = len(self.handed_out)
        if number == len(self.proposals):
            return [{"type": "exit"}]
        run_id = f"run{number}"
        self.handed_out.append(run_id)
        arguments = {name: {"value": value} for name, value in self.proposals[number].items()}
        return [{"type": "run", "run_id": run_id, "program": "", "args": arguments}]

    def _answer_UpsertBucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        run_id = variables.get("name") or variables.get("id")
        run = self.runs.setdefault(run_id, {"rows": [], "summary": {}, "exitcode": None, "config": {}})
        if variables.get("config"):
            run["config"].update(json.loads(variables["config"]))
        for key, name in (("groupName", "group"), ("sweep", "sweep"), ("displayName", "name")):
            if variables.get(key):
                run[name] = variables[key]
        project = {"id": "project", "name": PROJECT, "entity": {"id": "entity", "name": ENTITY}}
        bucket = {"id": run_id, "name": run_id, "displayName": run_id, "description": "", "config": "{}"}
        bucket |= {"sweepName": run.get("sweep"), "project": project, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _answer_CreateRunFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": variables.get("run"), "uploadHeaders": [], "files": files}}

    def _answer_OrganizationCoreWeaveOrganizationID(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": None}}

    def _file_stream(self, run_id: str, body: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(run_id, {"rows": [], "summary": {}, "exitcode": None, "config": {}})
        files = body.get("files") or {}
        for line in files.get("wandb-history.jsonl", {}).get("content", []):
            run["rows"].append(json.loads(line))
        for line in files.get("wandb-summary.json", {}).get("content", []):
            run["summary"].update(json.loads(line))
        if body.get("complete"):
            run["exitcode"] = body.get("exitcode")
        return {"exitcode": None, "limits": {}}
