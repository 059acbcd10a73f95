"""Loads an app: the module or package that declares what a worker process runs."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType

from zart_redis import registry
from zart_redis.errors import ConfigurationError

DEFAULT_APP = "workers"
OURS = str(Path(registry.__file__).parent)
"""The folder of this package."""


def load(app: str | None = None) -> ModuleType:
    """Import an app, searching the current folder first, so that what it declares is registered in this process.

    All modules of a package are imported, except `__main__`. The default is `workers`, a package or a module.

    Raises:
        ConfigurationError: there is no such module, one fails to import, or nothing is declared in it.
    """
    name = app or DEFAULT_APP
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    is_here = Path(name).is_dir() or Path(f"{name}.py").is_file()
    if app is None and not is_here:  # do not import a package of this name from elsewhere on the path
        raise ConfigurationError(
            f"there is no package or module {name!r} in {folder}: name the one with your handlers with --app"
        )
    try:
        module = _import_all(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(f"there is no module {name!r} in {folder}: check the name of the app") from None
        raise _unloadable(name, error) from error
    except (Exception, SystemExit) as error:
        raise _unloadable(name, error) from error
    if not registry.handlers.by_name and not registry.steps.by_name:
        raise ConfigurationError(f"{name!r} declares no handler: decorate one with @zart_durable")
    if clashes := registry.handlers.clashes() + registry.steps.clashes():
        raise ConfigurationError(f"several handlers or steps share a name: {'; '.join(clashes)}")
    return module


def _import_all(name: str) -> ModuleType:
    module = importlib.import_module(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if found.name != "__main__":
            _import_all(f"{name}.{found.name}")
    return module


def _unloadable(name: str, error: BaseException) -> ConfigurationError:
    """Names the line of the user's code; for an error that this package raises, the line that called it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    frames = [frame for frame in frames if not frame.filename.startswith(OURS)] or frames
    place = f"{error.filename}:{error.lineno}" if isinstance(error, SyntaxError) else ""
    place = place or f"{frames[-1].filename}:{frames[-1].lineno}"
    return ConfigurationError(f"{name!r} cannot be loaded: {type(error).__name__}: {error} ({place})")
