"""schemathesis against a gateway: whatever is sent, the answer is one that the OpenAPI document announces, and no 5xx.

``schemathesis.toml`` says which names exist and where a 5xx is right.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli import embedded_redis
from gateways import Gateway, publisher

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(900)]

SECONDS, LONG_SECONDS = 60, 600
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def test_every_answer_is_one_that_is_documented(tmp_path: Path, *, long: bool) -> None:
    """Over the whole document, with two models and a Redis; there is no worker, so jobs stay queued."""
    for model in ("tiny", "small"):
        for number in range(4):
            publisher(tmp_path).publish(model=model, job=f"job_{model}_{number}")
    redis = embedded_redis.program(tmp_path, tmp_path / embedded_redis.SOCKET)
    url = embedded_redis.redis_url(tmp_path / embedded_redis.SOCKET)
    with subprocess.Popen(redis.command, env=os.environ | redis.environment, stdout=subprocess.DEVNULL) as server:
        try:
            with Gateway(tmp_path, LECTERN_PROCESSES="1", LECTERN_REDIS_URL=url) as gateway:
                report = generated(gateway, LONG_SECONDS if long else SECONDS)
                log = gateway.log()
        finally:
            server.terminate()
    print(report)  # noqa: T201 - what schemathesis says, with -s or when it fails
    assert re.search(r"^=+ No issues found in [0-9.]+s =+$", report.strip(), re.MULTILINE), report
    assert re.search(r"Selected: (\d+)/\1\n +Tested: \1$", report, re.MULTILINE), report
    assert "request_failed" not in log


def generated(gateway: Gateway, seconds: int) -> str:
    """Return what schemathesis says after ``seconds``."""
    document = gateway.folder / "openapi.json"
    document.write_text(json.dumps(strict(httpx.get(f"{gateway.url}/openapi.json").json())))
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIGURATION, "run", document]
    options = ["--url", gateway.url, "--max-time", str(seconds), "--no-color"]
    done = subprocess.run([*command, *options], cwd=gateway.folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def strict(document: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the document without the answers that stand for any status: each must be named."""
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("default", None)
    return document
