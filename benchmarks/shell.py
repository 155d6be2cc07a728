"""From an upload to a served answer by the commands that a user types: ``make bench-shell``.

Each is a process of its own, so that its start is counted, too; ``lectern up`` runs already.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client
from benchmarks.machine import describe

LIMIT_SECONDS = 15.0
DIGITS = Path(str(files("models.data") / "digits.npz"))
COMMANDS = {
    "upload": ("datasets", "add", "mine", "--kind", "images", "--option", "value_range=[0,16]", f"train={DIGITS}"),
    "train": ("train", "mlp", "--dataset", "mine", "--model", "digits", "--watch"),
    "predict": ("predict", "digits", "classify"),
}


def main() -> None:
    """Print how long each command takes, and all of them together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="stacks that are started (default 3)")
    runs = [_run() for _ in range(parser.parse_args().runs)]
    print(describe("torch", "onnxruntime", "typer"))
    for name in COMMANDS:
        print(f"  lectern {COMMANDS[name][0]:<10} {statistics.median(run[name] for run in runs):6.2f} s")
    together = [sum(run.values()) for run in runs]
    spread = f"from {min(together):.2f} to {max(together):.2f}"
    print(f"  together           {statistics.median(together):6.2f} s ({spread}; at most {LIMIT_SECONDS:.0f} wanted)")


def _run() -> dict[str, float]:
    """Return the seconds of each command, in order, against a stack that has done nothing before."""
    with tempfile.TemporaryDirectory() as folder, LogFiles(Path(folder) / "logs") as logs:
        store = {"LECTERN_STORE_URL": (Path(folder) / "store").as_uri()}
        options = StackOptions(Path(folder), free_address("127.0.0.1", 0), environment=store)
        with Stack(options, logs.emit) as stack:
            environment = os.environ | {"LECTERN_URL": stack.base_url}
            seconds = {name: _seconds(COMMANDS[name], environment) for name in ("upload", "train")}
            with Client(stack.base_url) as client:
                (example,) = client.preview("mine", split="test", count=1)["items"]
            picture = Path(folder) / "digit.png"
            picture.write_bytes(base64.b64decode(example["image"]))
            seconds["predict"] = _seconds((*COMMANDS["predict"], str(picture)), environment)
            return seconds


def _seconds(words: tuple[str, ...], environment: Mapping[str, str]) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-P", "-m", "app.cli.main", *words, "--json"]
    ended = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"lectern {' '.join(words)} failed: {ended.stderr}")
    json.loads(ended.stdout)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
