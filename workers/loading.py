"""How a trainer loads torch: without what only tracing needs, a quarter of the time, until somebody wants it.

torch 2.13 loads with itself the kernels for tensors without values (``torch._meta_registrations``) and
``torch.export``, which loads the rules that take operators apart. Training runs neither; exporting and
``torch.compile`` need both, and get them: the first name that is asked of ``torch.export`` loads what was left out, as
does :func:`complete`.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

DEFERRED = ("torch._meta_registrations", "torch.export")


class _Later(ModuleType):
    """Stands for a module until a name of it is asked for."""

    def __init__(self, name: str) -> None:
        """Stand for ``name``."""
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> object:
        """Return the name from the module itself; whoever looks through all modules asks for ``__file__`` alone."""
        if name.startswith("__"):
            raise AttributeError(name)
        complete()
        return getattr(sys.modules[self.__name__], name)


class _Below(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads what is deferred when a module below it is imported, and then finds that there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to get the module, once what is above it is loaded."""
        del path, target
        if not fullname.startswith(tuple(f"{name}." for name in DEFERRED)):
            return None
        complete()
        found = importlib.import_module(fullname)
        # Not in its place, the import system asks for it; in its place, it would load it a second time.
        del sys.modules[fullname]
        return ModuleSpec(fullname, self, loader_state=(found, found.__spec__))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        return spec.loader_state[0]

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: it is loaded."""
        assert module.__spec__ is not None
        _, module.__spec__ = module.__spec__.loader_state


_below = _Below()


def load() -> None:
    """Load torch without what is deferred; nothing if it is loaded already."""
    if "torch" in sys.modules:
        return
    for name in DEFERRED:
        sys.modules[name] = _Later(name)
    sys.meta_path.insert(0, _below)
    importlib.import_module("torch")
    importlib.import_module("torch._prims.rng_prims")  # without it there are no generators; others load it otherwise


def complete() -> None:
    """Load what was deferred, if anything is still."""
    if _below not in sys.meta_path:
        return
    sys.meta_path.remove(_below)
    for name in DEFERRED:
        del sys.modules[name]
    for name in DEFERRED:
        package, _, attribute = name.rpartition(".")
        setattr(sys.modules[package], attribute, importlib.import_module(name))
