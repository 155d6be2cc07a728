"""Starting and stopping: refusals are sentences, and being told to stop is obeyed soon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from app.access.keys import Keys
from app.access.scopes import Scope
from app.entry import serve
from app.settings import GatewaySettings
from models.artifacts.store import ArtifactStore

ROOT = Path(__file__).resolve().parents[3]
SERVE = """
import sys
from app.entry import serve
from app.settings import GatewaySettings
sys.exit(serve(GatewaySettings()))
"""


def test_host_beyond_this_machine_is_refused(settings: GatewaySettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless there is a key that is valid."""
    exposed = settings.model_copy(update={"host": "192.0.2.1"})
    assert serve(exposed) == 1
    assert "LECTERN_INSECURE" in capsys.readouterr().err
    keys = Keys(ArtifactStore(settings.store_url))
    key, _ = keys.create("ci", (Scope.TRAIN,))
    assert serve(exposed) == 1  # further on, as this machine has no such address
    assert "cannot listen on 192.0.2.1" in capsys.readouterr().err
    keys.revoke(key.id)
    assert serve(exposed) == 1
    assert "lectern keys create" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "beyond"),
    [("127.0.0.1", False), ("127.8.8.8", False), ("::1", False), ("localhost", False), ("::", True), ("gateway", True)],
)
def test_loopback_is_known_in_all_its_forms(settings: GatewaySettings, host: str, *, beyond: bool) -> None:
    """A name that may be anything is taken for another machine."""
    assert settings.model_copy(update={"host": host}).listens_beyond_this_machine() is beyond


def test_taken_port_is_a_sentence(settings: GatewaySettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve(settings.model_copy(update={"port": port})) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"families": ("no_such_package",)}, "no_such_package"),
        ({"store_url": "nowhere://x"}, "artifact store"),
        ({"redis_url": "nowhere://x"}, "Redis URL"),
    ],
)
def test_wrong_setting_is_a_sentence(
    settings: GatewaySettings, capsys: pytest.CaptureFixture[str], update: dict[str, object], words: str
) -> None:
    """It says what cannot be used."""
    assert serve(settings.model_copy(update={"port": 0, **update})) == 1
    assert words in capsys.readouterr().err


def test_families_are_read_from_one_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Separated by commas; the store lies in the present folder unless told otherwise."""
    monkeypatch.setenv("LECTERN_FAMILIES", "models, mine")
    monkeypatch.chdir(tmp_path)
    settings = GatewaySettings()
    assert settings.families == ("models", "mine")
    assert settings.store_url == (tmp_path / ".lectern" / "store").as_uri()


@pytest.mark.slow
def test_gateway_stops_soon_although_somebody_listens(settings: GatewaySettings) -> None:
    """An open stream of events does not hold it; stopping is success."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "LECTERN_PORT": str(port),
        "LECTERN_REDIS_URL": settings.redis_url,
        "LECTERN_STORE_URL": settings.store_url,
    }
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        line = process.stderr.readline()
        assert "gateway_ready" in line
        body = {"family": "mlp", "dataset": "digits", "model": "m"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            job_id = client.post("/v1/jobs", json=body).json()["id"]
            with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
                assert stream.status_code == 200
                process.send_signal(signal.SIGTERM)
                stopped = time.monotonic()
                for _ in stream.iter_lines():
                    pass
        assert process.wait(10) == 0
        assert time.monotonic() - stopped < 5
        assert "gateway_stopped" in process.stderr.read()
