"""Prints the pinned requirements of pyproject.toml, so that an image layer holds them apart from the code.

``python pins.py [EXTRA | EXTRA/PACKAGE]…`` prints the base dependencies, then those of the extras, or of an extra
the one package that is named.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
pins = list(project["dependencies"])
for wanted in sys.argv[1:]:
    extra, _, package = wanted.partition("/")
    pins += [pin for pin in project["optional-dependencies"][extra] if not package or pin.partition("==")[0] == package]
sys.stdout.write("".join(f"{pin}\n" for pin in pins))
