"""A tiny local stand-in for the Hugging Face Hub (standard library only), for tests through HF_ENDPOINT.

    with HubStub(root) as hub:      # root/{models,datasets,spaces}/<ns>/<name>/...
        env HF_ENDPOINT=hub.url HF_HUB_DISABLE_XET=1 ...

Repositories are plain directories; a repository's commit is the hash of its content, so a push changes it. Files with
an LFS suffix go through the git-LFS batch API (basic transfer).
"""

import base64
import email.utils
import hashlib
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".arrow", ".gz", ".pt")
REPO = r"(models|datasets)/([^/]+/[^/]+)"
DATE = "2026-01-01T00:00:00.000Z"


def sha1(data):
    return hashlib.sha1(data).hexdigest()


class HubStub:
    """`gated` and `private` hold repositories, `drop` the part of a path at which connections break off."""

    def __init__(self, root, user="someone", token=None):
        self.root, self.user, self.token = Path(root), user, token
        self.gated, self.private, self.drop = set(), set(), None
        self.lfs_store, self.lock = {}, threading.RLock()
        self.snapshots = {}  # (kind, repository, commit) -> {path: bytes}: past commits stay readable
        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.httpd.shutdown()
        self.httpd.server_close()

    def head(self, kind, repo):
        """(commit, {path: bytes}) of the current content, or None where there is no such repository."""
        base = self.root / kind / repo
        if not base.is_dir():
            return None
        with self.lock:
            files = {p.relative_to(base).as_posix(): p.read_bytes() for p in sorted(base.rglob("*")) if p.is_file()}
            content = "".join(f"{name}\0{sha1(data)}" for name, data in files.items())
            commit = sha1(f"{kind}/{repo} {content}".encode())
            self.snapshots[kind, repo, commit] = files
        return commit, files


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub = None

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", ctype="application/json", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Type": ctype, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code, message):
        self.reply(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        out = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out

    def authorised(self):
        given, wanted = self.headers.get("Authorization"), self.hub.token
        return bool(given) and (wanted is None or given == f"Bearer {wanted}")

    def snapshot(self, kind, repo, rev=None):
        """The repository's (commit, files); otherwise None, and the error is sent."""
        now, rev = self.hub.head(kind, repo), urllib.parse.unquote(rev or "main")
        if now is None:
            return self.error(404, "RepoNotFound", "Repository not found")
        if rev in ("main", "HEAD", now[0]):
            return now
        files = self.hub.snapshots.get((kind, repo, rev))
        return (rev, files) if files else self.error(404, "RevisionNotFound", f"Invalid rev id: {rev}")

    def entry(self, path, data):
        out = {"type": "file", "path": path, "size": len(data), "oid": sha1(b"blob %d\0" % len(data) + data)}
        if path.endswith(LFS_SUFFIXES):
            out["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return out

    def url_of(self, kind, repo):
        return f"{self.hub.url}/{'datasets/' if kind == 'datasets' else ''}{repo}"

    def serve(self, routes):
        """Read the request and answer it by the first route that its path matches, or break the connection off."""
        url = urllib.parse.urlsplit(self.path)
        self.query, self.given = urllib.parse.parse_qs(url.query), self.body()
        if self.hub.drop is not None and self.hub.drop in url.path and self.command in ("POST", "PUT"):
            self.close_connection = True
            return self.connection.close()
        for pattern, answer in routes.items():
            if match := re.fullmatch(pattern, url.path):
                return answer(self, *match.groups())
        return self.error(404, "NotFound", f"the stub has no {self.command} {url.path}")

    # Reading ----------------------------------------------------------------------------------------------------

    def whoami(self):
        if not self.authorised():
            return self.error(401, "Unauthorized", "Invalid username or password.")
        return self.reply(200, {"type": "user", "name": self.hub.user, "orgs": [], "auth": {"type": "access_token"}})

    def info(self, kind, repo, rev=None):
        if found := self.snapshot(kind, repo, rev):
            commit, files = found
            facts = {"_id": commit[:24], "id": repo, "modelId": repo, "author": repo.split("/")[0], "sha": commit}
            facts |= {"private": repo in self.hub.private, "gated": repo in self.hub.gated, "disabled": False}
            facts |= {"tags": [], "downloads": 0, "likes": 0, "lastModified": DATE, "createdAt": DATE}
            self.reply(200, facts | {"siblings": [{"rfilename": name} for name in files]})

    def refs(self, kind, repo):
        if found := self.snapshot(kind, repo):
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": found[0]}
            self.reply(200, {"branches": [main], "tags": [], "converts": []})

    def tree(self, kind, repo, rev, sub=""):
        if not (found := self.snapshot(kind, repo, rev)):
            return None
        sub = urllib.parse.unquote(sub or "").strip("/")
        prefix, recursive = sub + "/" if sub else "", self.query.get("recursive", [""])[0].lower() in ("true", "1")
        items, folders = [], set()
        for name, data in found[1].items():
            if name.startswith(prefix):
                parts = name[len(prefix) :].split("/")
                folders |= {prefix + "/".join(parts[:d]) for d in range(1, len(parts)) if recursive or d == 1}
                items += [self.entry(name, data)] if recursive or len(parts) == 1 else []
        if sub and not items and not folders:
            return self.error(404, "EntryNotFound", f"{sub} does not exist on {rev}")
        items += [{"type": "directory", "path": d, "size": 0, "oid": sha1(d.encode())} for d in folders]
        return self.reply(200, sorted(items, key=lambda item: item["path"]))

    def resolve(self, kind, repo, rev, name):
        if not (found := self.snapshot(kind or "models", repo, rev)):
            return None
        commit, files = found
        if repo in self.hub.gated:
            return self.error(401, "GatedRepo", "Access to this repository is restricted.")
        if (name := urllib.parse.unquote(name)) not in files:
            headers = {"X_Error_Code": "EntryNotFound", "X_Error_Message": "Entry not found", "X_Repo_Commit": commit}
            return self.reply(404, {"error": "Entry not found"}, **headers)
        data, info = files[name], self.entry(name, files[name])
        etag = info.get("lfs", info)["oid"]
        headers = {"X_Repo_Commit": commit, "ETag": f'"{etag}"', "Accept_Ranges": "bytes"}
        headers["Last_Modified"] = email.utils.formatdate(usegmt=True)
        if "lfs" in info:
            headers |= {"X_Linked_Etag": f'"{etag}"', "X_Linked_Size": str(len(data))}
        if part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, stop = int(part[1]), min(int(part[2] or len(data) - 1), len(data) - 1)
            headers["Content_Range"] = f"bytes {start}-{stop}/{len(data)}"
            return self.reply(206, data[start : stop + 1], "application/octet-stream", **headers)
        return self.reply(200, data, "application/octet-stream", **headers)

    def do_GET(self):
        self.serve(
            {
                "/api/whoami-v2": _Handler.whoami,
                rf"/api/{REPO}(?:/revision/([^/]+))?": _Handler.info,
                rf"/api/{REPO}/refs": _Handler.refs,
                rf"/api/{REPO}/tree/([^/]+)(?:/(.*))?": _Handler.tree,
                r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)": _Handler.resolve,
            }
        )

    do_HEAD = do_GET  # noqa: N815 - the name that the server looks for

    # Writing ----------------------------------------------------------------------------------------------------

    def paths_info(self, kind, repo, rev):
        if found := self.snapshot(kind, repo, rev):
            names = urllib.parse.parse_qs(self.given.decode()).get("paths", [])
            self.reply(200, [self.entry(name, found[1][name]) for name in names if name in found[1]])

    def create(self):
        wanted = json.loads(self.given)
        kind = wanted.get("type", "model") + "s"
        repo = f"{wanted.get('organization') or self.hub.user}/{wanted['name']}"
        base, url = self.hub.root / kind / repo, self.url_of(kind, repo)
        if base.is_dir():
            return self.reply(409, {"error": "You already created this repo", "url": url})
        base.mkdir(parents=True)
        if wanted.get("private") or wanted.get("visibility") == "private":
            self.hub.private.add(repo)
        (base / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
        return self.reply(200, {"url": url, "name": repo, "id": repo})

    def preupload(self, kind, repo, rev):
        if found := self.snapshot(kind, repo, rev):
            out = []
            for file in json.loads(self.given)["files"]:
                path, mode = file["path"], "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular"
                oid = self.entry(path, found[1][path])["oid"] if path in found[1] else None
                out.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
            self.reply(200, {"files": out})

    def lfs_batch(self, _datasets, _repo):
        objects = []
        for wanted in json.loads(self.given)["objects"]:
            found = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.lfs_store:
                found["actions"] = {"upload": {"href": f"{self.hub.url}/__lfs__/{wanted['oid']}", "header": {}}}
            objects.append(found)
        self.reply(200, {"transfer": "basic", "objects": objects})

    def commit(self, kind, repo, _rev):
        if not self.snapshot(kind, repo):
            return
        base = self.hub.root / kind / repo
        with self.hub.lock:
            for operation in map(json.loads, filter(None, self.given.splitlines())):
                value, key = operation["value"], operation["key"]
                if key == "deletedFile":
                    (base / value["path"]).unlink(missing_ok=True)
                elif key in ("file", "lfsFile"):
                    target = base / value["path"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    stored = key == "lfsFile"
                    target.write_bytes(
                        self.hub.lfs_store[value["oid"]] if stored else base64.b64decode(value["content"])
                    )
            commit, _ = self.hub.head(kind, repo)
        url = f"{self.url_of(kind, repo)}/commit/{commit}"
        self.reply(200, {"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def do_POST(self):
        reading = {rf"/api/{REPO}/paths-info/([^/]+)": _Handler.paths_info}
        writing = {
            "/api/validate-yaml": lambda handler: handler.reply(200, {"errors": [], "warnings": []}),
            "/api/repos/create": _Handler.create,
            rf"/api/{REPO}/preupload/([^/]+)": _Handler.preupload,
            r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch": _Handler.lfs_batch,
            rf"/api/{REPO}/commit/([^/]+)": _Handler.commit,
        }
        refused = {".*": lambda handler, *_: handler.error(401, "Unauthorized", "Invalid username or password.")}
        self.serve(reading | (writing if self.authorised() else refused))

    def store(self, oid):
        if hashlib.sha256(self.given).hexdigest() != oid:
            return self.error(400, "BadDigest", "sha256 mismatch")
        self.hub.lfs_store[oid] = self.given
        return self.reply(200, b"", ETag=f'"{oid}"')

    def do_PUT(self):
        self.serve({"/__lfs__/([0-9a-f]{64})": _Handler.store})
