"""Write the contract into ``docs/``: ``python -m infra.contract`` (``make contract``).

The REST API in OpenAPI and the WebSocket in AsyncAPI, as an engine has them that asks for tokens; and the REST API as
a Postman collection, for either kind of engine. ``--check`` writes nothing, and says which are not as they should be.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from chalicelib.clock import Clock
from chalicelib.config import load_settings
from chalicelib.engine import Engine
from chalicelib.exact_json import encode_json
from chalicelib.web.contract.asyncapi import asyncapi
from chalicelib.web.contract.openapi import openapi
from infra.postman import collection

DOCS = Path(__file__).parents[1] / "docs"


def documents() -> Mapping[str, str]:
    """Return what each file should hold, by its name."""
    venues = Engine(load_settings({}), Clock()).router.venue_names
    described = openapi(open_to_all=False, venues=venues)
    return {
        "openapi.json": _as_json(described),
        "asyncapi.yaml": _as_yaml(asyncapi(open_to_all=False, venues=venues)),
        "postman_collection.json": _as_json(collection(described)),
    }


def outdated(folder: Path = DOCS) -> list[str]:
    """Return the names of the files that are missing or hold something else."""
    return [
        name
        for name, text in documents().items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text
    ]


def _as_json(document: object) -> str:
    return msgspec.json.format(encode_json(document), indent=2).decode() + "\n"


def _as_yaml(document: object) -> str:
    text: str = yaml.dump(
        json.loads(_as_json(document)), Dumper=_Readable, sort_keys=False, allow_unicode=True, width=120
    )
    return text


class _Readable(yaml.SafeDumper):
    """Writes everything where it is used, and texts of several lines as they are."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - every value, whatever it is
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _Readable.represent_text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.contract", description="Write the contract into docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not as it should be")
    if parser.parse_args().check:
        names = outdated()
        for name in names:
            print(f"docs/{name} is not what the engine serves; `make contract` writes it anew.")
        return 1 if names else 0
    for name, text in documents().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}: {len(text.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
