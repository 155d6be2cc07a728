"""uvicorn alone: reads the body to its end and answers a constant. Started with a port, and Lectern's own options."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

BODY = (
    b'{"model_name":"bench","model_version":"1","outputs":[{"name":"probabilities","datatype":"FP32","shape":[1,10],'
    b'"data":[0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1]}]}'
)
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer whatever is asked."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    gc.freeze()
    uvicorn.run(
        application,
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="off",
        backlog=2048,
    )
