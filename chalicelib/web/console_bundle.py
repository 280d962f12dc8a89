"""The console's modules as one script, and its styles as one sheet: a first visit is three files, not twenty.

Each file that a page loads is a call of a function, and the first of them wait for new ones to start. The modules keep
to one way of writing imports and exports, so this needs no tool: every module becomes a function that returns what it
exports, after those that it imports from.
"""

import re
from collections.abc import Iterable, Mapping

_IMPORT = re.compile(r'^import (\{ \w+(?:, \w+)* \}) from "\./([\w.]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_OTHERWISE_WRITTEN = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def script_of(files: Mapping[str, str], entry: str) -> str:
    """Return the module ``entry`` and all that it imports as one module.

    Raises:
        ValueError: An import or export is not written as this understands it, or modules import one another.
    """
    # The entry is not wrapped: it may await at its top.
    *needed, _ = _ordered(files, entry, ())
    wrapped = "".join(f'modules["{name}"] = {_wrapped(files, name)};\n' for name in needed)
    return f"const modules = {{}};\n{wrapped}{_body(files, entry)}"


def stylesheet_of(files: Mapping[str, str], names: Iterable[str]) -> str:
    """Return styles as one sheet; a later one has the last word."""
    return "\n".join(files[name] for name in names)


def _ordered(files: Mapping[str, str], name: str, importing: tuple[str, ...]) -> list[str]:
    """Return the modules that a module needs and itself, each after those that it needs."""
    if name in importing:
        raise ValueError(f"{' imports '.join((*importing, name))}: modules cannot import one another")
    needed = (
        module for _, source in _IMPORT.findall(files[name]) for module in _ordered(files, source, (*importing, name))
    )
    return list(dict.fromkeys((*needed, name)))


def _wrapped(files: Mapping[str, str], name: str) -> str:
    exported = ", ".join(_EXPORT.findall(files[name]))
    return f"(() => {{\n{_body(files, name)}\nreturn {{ {exported} }};\n}})()"


def _body(files: Mapping[str, str], name: str) -> str:
    body = _EXPORT.sub("", _IMPORT.sub(r'const \1 = modules["\2"];', files[name]))
    if other := _OTHERWISE_WRITTEN.search(body):
        raise ValueError(f'{name}: {other[0]!r} is not written as import {{ … }} from "./….js"; or export function …')
    return body
