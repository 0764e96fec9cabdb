"""The list of cases. A case is a function of one argument, the Case (case.py), found by its decorator."""

import dataclasses
import importlib
import pathlib
from typing import Callable, Dict, Optional

CASES: Dict[str, "Definition"] = {}


@dataclasses.dataclass
class Definition:
    name: str
    run: Callable
    limit: float  # seconds
    shared: bool  # works on the suite's common three-process cluster and leaves it as it found it
    quiet: bool  # mostly waits: may run beside as many others as there are cores


def case(limit: float, shared: bool = False, quiet: bool = False):
    def register(function):
        module = function.__module__.rsplit(".", 1)[-1]
        name = f"{module}.{function.__name__}"
        CASES[name] = Definition(name, function, limit, shared, quiet)
        return function

    return register


def load_all(directory: pathlib.Path, only: Optional[str] = None):
    for path in sorted(directory.glob("*.py")):
        if path.stem != "__init__" and (only is None or path.stem == only):
            importlib.import_module(f"cases.{path.stem}")
