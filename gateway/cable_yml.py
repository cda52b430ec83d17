"""What ``config/cable.yml`` says for an environment.

The file is parsed first, and only the values of the chosen section are expanded then:
a variable may hold anything, and those of other sections need not be set here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from gateway.errors import ConfigError

__all__ = ["Expanded", "section"]

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")

_OPTIONAL = ("development", "test")
"""Environments that do without a section: the defaults are made for them."""


class Expanded(str):
    """A text that came from variables: it may stand for a number, say."""


class _Loader(yaml.SafeLoader):
    """YAML without keys that are there twice, of which one would be ignored."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value]
            for name in names:
                if names.count(name) > 1 and name != "<<":
                    raise yaml.constructor.ConstructorError(
                        problem=f"{name!r} is there twice", problem_mark=node.start_mark
                    )
        return super().construct_mapping(node, deep)


def section(file: Path, environment: str) -> dict[str, Any]:
    """The settings of one environment.

    Raises:
        ConfigError: there are none, or they cannot be read; says what to write.
    """
    content = _content(file)
    for name, values in content.items():
        if not isinstance(values, dict | None):
            raise _unusable(
                file,
                f"{name!r} is to be an environment's section, which maps keys to "
                "values, as in `production: {path: /cable}`",
            )
    if environment not in content:
        near = get_close_matches(environment, content, n=1, cutoff=0.5)
        if environment in _OPTIONAL and not near:
            return {}
        sections = ", ".join(content) or "none"
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise _unusable(
            file,
            f"there is no section {environment!r}. {hint}Write one, if only "
            f"`{environment}: {{}}`, or set GATEWAY_ENV to another (there are: "
            f"{sections})",
        )
    values = content[environment] or {}
    return {str(key): _expanded(str(key), value) for key, value in values.items()}


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except OSError as exc:
        raise _unusable(file, f"it cannot be read ({exc.strerror})") from exc
    except UnicodeDecodeError as exc:
        raise _unusable(file, f"save it in UTF-8 ({exc})") from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise _unusable(file, f"it is not YAML: {exc}") from exc
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _unusable(file, "write sections by environment, as in `production: {}`")
    return {str(name): values for name, values in content.items()}


def _expanded(key: str, value: Any) -> Any:
    """``${VAR}`` and ``${VAR:-default}`` in all texts, as shells have them."""
    if isinstance(value, list):
        return [_expanded(key, each) for each in value]
    if isinstance(value, dict):
        return {name: _expanded(key, each) for name, each in value.items()}
    if not isinstance(value, str) or not _VARIABLE.search(value):
        return value

    def variable(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = os.environ.get(name)
        if default is not None:
            return found or default
        if found is None:
            raise ConfigError(
                key,
                match.group(0),
                f"set the environment variable {name}, or write ${{{name}:-default}}",
            )
        return found

    return Expanded(_VARIABLE.sub(variable, value))


def _unusable(file: Path, fix: str) -> ConfigError:
    return ConfigError("the configuration file", str(file), fix)
