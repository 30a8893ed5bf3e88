"""`python -m localcloud.provider --home DIR [--validate-only] [--with-parent] [--port N]`

With `--validate-only` no service is needed and nothing is made real: what a preview without
credentials wants. The port is then free to choose; it is printed as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from pathlib import Path

from localcloud.home import Home
from localcloud.provider.lifecycle import Lifecycle
from localcloud.provider.server import serve

GRACE_SECONDS = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.provider", description=__doc__)
    parser.add_argument("--home", type=Path, help="the state folder of the local cloud")
    parser.add_argument("--validate-only", action="store_true", help="check, and make nothing")
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input does, as a parent dies"
    )
    parser.add_argument("--port", type=int, help="0 chooses a free one; default: the home's")
    options = parser.parse_args(arguments)
    if options.home is None and not options.validate_only:
        parser.error("--home is required unless --validate-only is given")
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s"
    )
    home = Home(options.home.resolve()) if options.home else None
    port = options.port
    if port is None:
        port = home.endpoints().ports["provider"] if home and not options.validate_only else 0
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if options.with_parent:
        threading.Thread(
            target=lambda: (sys.stdin.read(), stopping.set()), name="parent", daemon=True
        ).start()
    lifecycle = Lifecycle(None if options.validate_only else home)
    server, bound = serve(lifecycle, port)
    sys.stdout.write(json.dumps({"port": bound}) + "\n")
    sys.stdout.flush()
    stopping.wait()
    server.stop(GRACE_SECONDS).wait()
    lifecycle.store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
