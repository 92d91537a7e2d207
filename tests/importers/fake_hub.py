"""As much of the Hugging Face hub as huggingface_hub needs to find and download a model, on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(repo: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serve one repository with one commit, "main"; yields the endpoint and the names of files downloaded."""
    downloaded: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            api = f"api/models/{repo}"
            if path in (f"{api}/revision/main", f"{api}/revision/{COMMIT}", api):
                siblings = [{"rfilename": name} for name in files]
                self._json({"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "tags": []})
            elif path.startswith(f"{api}/tree/"):
                self._json([self._entry(name) for name in files])
            elif path.startswith(f"{repo}/resolve/") and (name := path.split("/", 4)[-1]) in files:
                self._file(name)
            elif path.startswith(f"{api}/"):
                self._reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            else:
                self._reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        do_HEAD = do_GET

        def _entry(self, name: str) -> dict[str, object]:
            return {"type": "file", "path": name, "size": len(files[name]), "oid": self._etag(name)}

        def _etag(self, name: str) -> str:
            return hashlib.sha1(files[name]).hexdigest()

        def _file(self, name: str) -> None:
            if self.command == "GET":
                downloaded.append(name)
            self._reply(200, files[name], {"ETag": f'"{self._etag(name)}"', "X-Repo-Commit": COMMIT})

        def _json(self, content: object) -> None:
            self._reply(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

        def _reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", downloaded
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
