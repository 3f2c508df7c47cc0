"""Packages that only some commands need, and that may be missing."""

import importlib
from types import ModuleType

from charlm.system.errors import ExtraError


def extra(module: str, name: str) -> ModuleType:
    """Import `module`, which belongs to the optional extra `name`; raises `ExtraError` if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ExtraError(f"the package {package} is missing: pip install 'charlm[{name}]'") from error
