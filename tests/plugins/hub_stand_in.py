"""A stand-in of the Hugging Face hub on loopback: the calls by which its client makes, fills and reads a repository."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

TOKEN = "hf_stand_in"
LARGE = (".pth", ".safetensors", ".wav", ".bin")


class Hub:
    """Repositories by name: commits, newest last, each with its files; and what was asked of it.

    Attributes:
        commits: of each repository, pairs of an id and {path: bytes}.
        visibility: of each repository.
        calls: method and path of each request.
        objects: large files by their SHA-256.
    """

    def __init__(self):
        self.commits, self.visibility, self.calls, self.objects, self.address = {}, {}, [], {}, ""

    def put(self, repo, files):
        """Adds a commit without HTTP; returns its id."""
        before = self.commits.setdefault(repo, [])
        content = {**(before[-1][1] if before else {}), **files}
        oid = hashlib.sha1(f"{repo}{len(before)}".encode()).hexdigest()
        before.append((oid, content))
        return oid

    def at(self, repo, revision):
        """The commit of a revision: main, or an id."""
        commits = self.commits[repo]
        if revision == "main":
            return commits[-1]
        return next((one for one in commits if one[0] == revision), None)


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            pass

        def answer(self, status, content=b"", **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def refuse(self, code, message):
            self.answer({"RepoNotFound": 404, "RevisionNotFound": 404, "EntryNotFound": 404}[code], {"error": message},
                        X_Error_Code=code, X_Error_Message=message)  # fmt: skip

        def handle_any(self):
            path = unquote(urlparse(self.path).path)
            hub.calls.append(f"{self.command} {path}")
            body = self.body()
            writes = self.command in ("POST", "PUT") and not path.startswith("/lfs/")
            if writes and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401, {"error": "Invalid credentials"}, X_Error_Message="Invalid credentials")
                return
            for pattern, call in self.routes:
                if found := re.fullmatch(pattern, f"{self.command} {path}"):
                    call(self, body, *found.groups())
                    return
            self.refuse("RepoNotFound", f"no {path}")

        do_GET = do_HEAD = do_POST = do_PUT = handle_any  # the names of the base class

        def create(self, body):
            asked = json.loads(body)
            repo = f"{asked['organization'] or 'me'}/{asked['name']}"
            if repo in hub.visibility:
                self.answer(409, {"error": "exists", "url": f"{hub.address}/{repo}"})
                return
            hub.visibility[repo] = asked.get("visibility", "public")
            hub.put(repo, {})
            self.answer(200, {"url": f"{hub.address}/{repo}"})

        def validate(self, body):
            self.answer(200, {"warnings": [], "errors": []})

        def preupload(self, body, repo, revision):
            files = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                 "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]  # fmt: skip
            self.answer(200, {"files": files})

        def batch(self, body, repo):
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.address}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self.answer(200, {"objects": objects, "transfer": "basic"})

        def large(self, body, oid):
            assert hashlib.sha256(body).hexdigest() == oid
            hub.objects[oid] = body
            self.answer(200)

        def commit(self, body, repo, revision):
            files = {}
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "lfsFile":
                    files[entry["value"]["path"]] = hub.objects[entry["value"]["oid"]]
            oid = hub.put(repo, files)
            self.answer(200, {"commitUrl": f"{hub.address}/{repo}/commit/{oid}", "commitOid": oid})

        def info(self, body, repo, revision="main"):
            if repo not in hub.commits:
                self.refuse("RepoNotFound", f"no {repo}")
            elif (found := hub.at(repo, revision)) is None:
                self.refuse("RevisionNotFound", f"Invalid rev id: {revision}")
            else:
                self.answer(200, {"id": repo, "sha": found[0], "siblings": [{"rfilename": one} for one in found[1]]})

        def tree(self, body, repo, revision):
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in hub.at(repo, revision)[1].items()
            ]
            self.answer(200, entries)

        def file(self, body, repo, revision, path):
            oid, files = hub.at(repo, revision)
            if path not in files:
                self.refuse("EntryNotFound", f"no {path}")
                return
            self.answer(200, files[path], ETag=f'"{hashlib.sha256(files[path]).hexdigest()}"', X_Repo_Commit=oid)

        routes = (
            (r"POST /api/repos/create", create),
            (r"POST /api/validate-yaml", validate),
            (r"POST /api/models/([^/]+/[^/]+)/preupload/(.+)", preupload),
            (r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch", batch),
            (r"PUT /lfs/(\w+)", large),
            (r"POST /api/models/([^/]+/[^/]+)/commit/(.+)", commit),
            (r"GET /api/models/([^/]+/[^/]+)", info),
            (r"GET /api/models/([^/]+/[^/]+)/revision/(.+)", info),
            (r"GET /api/models/([^/]+/[^/]+)/tree/([^/]+)", tree),
            (r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/([^/]+)/(.+)", file),
        )

    return Handler


@contextmanager
def hub_stand_in():
    """A hub that listens on loopback within a block."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
