"""As much of the Hugging Face Hub's HTTP interface as its client needs to push a model and load it again."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_small_hub"


class SmallHub(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        repos: by name, `{"private": bool, "branches": {name: [{path: content}, ...]}}`, each commit all the files it leaves.
        refuse: answer commits with this status, when it is set.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict] = {}
        self.refuse: int | None = None

    @property
    def url(self) -> str:
        """What `HF_ENDPOINT` is to be."""
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, repo: str) -> dict[str, bytes]:
        """The files of the last commit to a repository's main branch."""
        return self.repos[repo]["branches"]["main"][-1]


@contextmanager
def small_hub() -> Iterator[SmallHub]:
    """A Hub that runs while the block does."""
    hub = SmallHub()
    thread = Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: SmallHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if not self._chunked() else self._chunks()
        path = unquote(urlsplit(self.path).path)
        if path == "/api/validate-yaml":
            content = json.loads(body)["content"]
            problem = [] if re.match(r"---\n.*?\n---\n", content, re.S) else [{"message": "no metadata"}]
            return self._json(400 if problem else 200, {"errors": problem, "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch)/([^/]+)", path)
        if not match or match[1] not in self.server.repos:
            return self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        branches = self.server.repos[match[1]]["branches"]
        if match[2] == "branch":
            made = branches.setdefault(match[3], fresh := list(branches["main"])) is fresh
            return self._json(200 if made else 409, {} if made else {"error": "Reference already exists"})
        if match[3] not in branches:
            return self._json(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        if match[2] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._json(200, {"files": files})
        return self._commit(match[1], match[3], body)

    def _create(self, wanted: dict) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        answer = {"url": f"{self.server.url}/{name}"}
        if name in self.server.repos:
            return self._json(409, answer | {"error": "You already created this model repo"})
        main: list[dict[str, bytes]] = [{}]
        private = wanted.get("visibility") == "private"
        self.server.repos[name] = {"private": private, "branches": {"main": main}}
        return self._json(200, answer)

    def _commit(self, repo: str, branch: str, body: bytes) -> None:
        if self.server.refuse:
            return self._json(self.server.refuse, {"error": "no room"})
        commits = self.server.repos[repo]["branches"][branch]
        files = dict(commits[-1])
        for line in body.splitlines():
            operation = json.loads(line)
            if operation["key"] == "file":
                value = operation["value"]
                files[value["path"]] = base64.b64decode(value["content"])
        commits.append(files)
        commit = self._sha(repo)
        answer = {"commitUrl": f"{self.server.url}/{repo}/commit/{commit}", "commitOid": commit}
        return self._json(200, answer)

    def do_HEAD(self) -> None:
        self._get(with_body=False)

    def do_GET(self) -> None:
        self._get(with_body=True)

    def _get(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if match and match[1] in self.server.repos:
            return self._file(match[1], match[3], with_body)
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path)
        if match and match[1] in self.server.repos:
            siblings = [{"rfilename": name} for name in self.server.files(match[1])]
            info = {"id": match[1], "sha": self._sha(match[1]), "siblings": siblings, "tags": [], "private": False}
            return self._json(200, info)
        code = "EntryNotFound" if match or "/tree/" in path else "RepoNotFound"
        return self._json(404, {"error": "Not found"}, {"X-Error-Code": code})

    def _file(self, repo: str, name: str, with_body: bool) -> None:
        headers = {"X-Repo-Commit": self._sha(repo)}
        content = self.server.files(repo).get(name)
        if content is None:
            return self._json(404, {"error": "Entry not found"}, headers | {"X-Error-Code": "EntryNotFound"})
        headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
        return self._send(200, content, headers, with_body)

    def _sha(self, repo: str) -> str:
        return hashlib.sha1(f"{repo} {len(self.server.repos[repo]['branches']['main'])}".encode()).hexdigest()

    def _json(self, status: int, value: dict, headers: dict[str, str] | None = None) -> None:
        content = {"Content-Type": "application/json"}
        self._send(status, json.dumps(value).encode(), content | (headers or {}), self.command != "HEAD")

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body
