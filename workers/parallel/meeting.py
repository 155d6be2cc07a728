"""Where the processes of one training find one another: a store that the trainer holds, then a process group.

Everything is on one machine and speaks over its loopback interface alone; nobody else can listen or join.
"""

from __future__ import annotations

import os
import socket
import sys
from datetime import timedelta
from typing import Self

import torch
from torch import distributed
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage] - documented under this name

JOINING = timedelta(minutes=5)
"""How long the others are waited for at the start: each loads torch and the dataset."""

SILENCE = timedelta(minutes=30)
"""How long one process waits for another in a step; the trainer scores whole splits while the others wait."""

HERE = "127.0.0.1"


class Meeting:
    """The store, and what is said through it beside the steps."""

    def __init__(self, store: TCPStore, port: int, size: int) -> None:
        """Hold the store of ``size`` processes; :meth:`called` and :meth:`visited` make one."""
        self._store = store
        self._size = size
        self.port = port

    @classmethod
    def called(cls, size: int) -> Self:
        """Return the meeting that this process, the trainer, calls for ``size`` processes, itself included."""
        # The socket is made here because the store by itself would listen on every interface.
        listening = socket.create_server((HERE, 0))
        port = listening.getsockname()[1]
        descriptor = listening.detach()
        store = TCPStore(
            HERE, port, size, is_master=True, timeout=JOINING, wait_for_workers=False, master_listen_fd=descriptor
        )
        return cls(store, port, size)

    @classmethod
    def visited(cls, port: int, size: int) -> Self:
        """Return the meeting that a trainer called."""
        return cls(TCPStore(HERE, port, size, is_master=False, timeout=JOINING), port, size)

    def join(self, device: torch.device, rank: int) -> None:
        """Make this process one of a group, once all are there."""
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(
            backend,
            store=self._store,
            rank=rank,
            world_size=self._size,
            timeout=SILENCE,
            device_id=device if device.type == "cuda" else None,
        )

    def leave(self) -> None:
        """Take this process out of the group again, if it is in one."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def complain(self, failure: str) -> None:
        """Tell the trainer why this process ends."""
        self._store.set("failure", failure)

    def complaint(self) -> str | None:
        """Return why another process ended, if one said so."""
        return self._store.get("failure").decode() if self._store.check(["failure"]) else None
