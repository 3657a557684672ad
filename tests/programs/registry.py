"""A registry that wants a password, on loopback: one image, without anything in it (source: the OCI distribution spec).

registry.py PORT AUTHORIZATION
"""

import gzip
import hashlib
import http.server
import io
import json
import sys
import tarfile

OCI = "application/vnd.oci.image"
port, authorization = int(sys.argv[1]), sys.argv[2]


def put(data: bytes) -> dict[str, object]:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return {"digest": digest, "size": len(data)}


blobs: dict[object, bytes] = {}
tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as archive:
    archive.addfile(tarfile.TarInfo("empty"))
layer = put(gzip.compress(tar.getvalue()))
layers = ["sha256:" + hashlib.sha256(tar.getvalue()).hexdigest()]
config = put(
    json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": layers}}
    ).encode()
)
manifest = put(
    json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {"mediaType": f"{OCI}.config.v1+json", **config},
            "layers": [{"mediaType": f"{OCI}.layer.v1.tar+gzip", **layer}],
        }
    ).encode()
)


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind, _, name = self.path.partition("?")[0].rpartition("/")
        if self.headers.get("Authorization") != authorization:
            self.answer(401, b"", "text/plain", **{"WWW-Authenticate": 'Basic realm="test"'})
        elif self.path == "/v2/":
            self.answer(200, b"{}", "application/json")
        elif kind.endswith("/manifests"):
            digest = manifest["digest"]
            self.answer(200, blobs[digest], f"{OCI}.manifest.v1+json", **{"Docker-Content-Digest": digest})
        elif name in blobs:
            self.answer(200, blobs[name], "application/octet-stream")
        else:
            self.answer(404, b"{}", "application/json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, status: int, data: bytes, kind: str, **more: object) -> None:
        self.send_response(status)
        for field, value in {"Content-Type": kind, "Content-Length": len(data), **more}.items():
            self.send_header(field, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


http.server.ThreadingHTTPServer(("127.0.0.1", port), Registry).serve_forever()
