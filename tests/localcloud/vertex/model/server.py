"""A model server in the smallest form that Vertex's container contract allows."""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

AIP = {name: value for name, value in os.environ.items() if name.startswith("AIP_")}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer: two of them wait for a delayed acknowledgement

    def answer(self, code, body):
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.answer(200 if self.path == AIP["AIP_HEALTH_ROUTE"] else 404, {})

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != AIP["AIP_PREDICT_ROUTE"]:
            return self.answer(404, {"detail": "no such route"})
        body = json.loads(sent)
        parameters = body.get("parameters") or {}
        if "status" in parameters:
            return self.answer(int(parameters["status"]), {"detail": "as asked"})
        if "exit" in parameters:
            os._exit(3)
        if "environment" in parameters:
            shown = {**AIP, "SCALE": os.environ.get("SCALE", ""), "ARGS": sys.argv[1:]}
            shown["GREETING"] = os.environ.get("GREETING", "")
            shown["STORAGE"] = os.environ.get("STORAGE_EMULATOR_HOST", "")
            return self.answer(200, {"predictions": [shown]})
        scale = float(os.environ.get("SCALE", "1"))
        return self.answer(200, {"predictions": [sum(one) * scale for one in body["instances"]]})

    def log_message(self, *args):
        pass


if os.environ.get("BROKEN"):
    sys.exit(os.environ["BROKEN"])
if os.environ.get("NEVER_READY"):
    sys.stderr.write("still loading\n")
    threading.Event().wait()
ThreadingHTTPServer((os.environ["HOST"], int(AIP["AIP_HTTP_PORT"])), Handler).serve_forever()
