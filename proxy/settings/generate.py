"""Writes what the schema says for people and editors: `config/keepwarm.yaml`, its JSON schema, `docs/settings.md`.

`python -m proxy.settings.generate` writes them; with `--check` it only tells whether they are up to date. Never used by
the running proxy.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from proxy.settings.keys import ENTRIES, KEYS, PREFIX, VARIABLES
from proxy.settings.schema import AFTER_RESTART, Settings
from proxy.settings.sections import Model

REPOSITORY: Final = Path(__file__).parents[2]

_YAML_HEAD: Final = """\
# yaml-language-server: $schema=./keepwarm.schema.json

# The settings of keepwarm. Every key is here with its default; what is left out has that default.
# Durations: '500ms', '90s', '5m', '1h30m', '30d'. Sizes: '512MiB', '22GiB' (1024), '24GB' (1000).
# Saved changes take effect at once, except where it says "after a restart"; a mistake leaves the last good settings.
# KEEPWARM_ variables override single keys: KEEPWARM_KEEP_ALIVE_MIN=10m. Check with: keepwarm check FILE
"""
_EXAMPLES: Final = {
    ("access", "keys"): """\
    # alice: 2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90
""",
    ("access", "allow"): """\
    # alice:
    #   endpoints: [use, unload]
    #   models: ["llama3*", qwen3:8b]
    # keyless:
    #   endpoints: []
""",
    ("access", "weights"): """\
    # alice: 3
""",
    ("models",): """\
  # llama3.2:            # every tag of llama3.2
  #   pin: true          # never evicted, never expires
  # "qwen*":
  #   min: 10m           # shortest keep_alive, instead of keep_alive.min
  #   max: 2h            # longest keep_alive, instead of keep_alive.max
  #   weight: 2          # waiting for it is twice as bad; a number above 0, default 1
  # "*:70b":
  #   never_keep: true   # unloaded as soon as it is idle
  #   warm_up: false     # never loaded ahead of use
  #   client_keep_alive: respect
  #   num_ctx: unify     # one context length for all clients
""",
}


def json_schema() -> str:
    """Return the JSON schema (2020-12) of the settings file."""
    schema = Settings.model_json_schema()
    entries = []
    for path in ENTRIES:
        place = schema["$defs"]["Access"] if path[0] == "access" else schema
        entries.append(place["properties"][path[-1]])
        entries[-1]["additionalProperties"] = False
    for section in (*schema["$defs"].values(), *entries):
        section["type"] = ["object", "null"]  # with everything in it commented out, it is null
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"


def example() -> str:
    """Return the settings file with every key at its default."""
    return _YAML_HEAD + "".join(_yaml(Settings, ()))


def _yaml(section: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    indent = "  " * len(path)
    lines: list[str] = []
    for name, info in section.model_fields.items():
        gap = "" if path else "\n"
        if (*path, name) not in KEYS:
            nested: Any = info.annotation
            lines += [f"{gap}{indent}# {nested.__doc__}\n{indent}{name}:\n", *_yaml(nested, (*path, name))]
            continue
        comment = [*(info.description or "").splitlines()]
        if (*path, name)[:2] in AFTER_RESTART:
            comment.append("Takes effect after a restart.")
        lines.append(gap + "".join(f"{indent}# {line}\n" for line in comment))
        entries = _EXAMPLES.get((*path, name))
        lines.append(f"{indent}{name}:\n{entries}" if entries else f"{indent}{name}: {_written(info.default)}\n")
    return lines


def _written(default: object) -> str:
    """Return a default as YAML writes it."""
    return str(default).lower() if isinstance(default, bool) else str(default)


def reference() -> str:
    """Return the table of all settings in Markdown."""
    variables = {path: name for name, path in VARIABLES.items()}
    lines = [
        "# Settings",
        "",
        "Written by `python -m proxy.settings.generate`. `config/keepwarm.yaml` is the same as a file to edit;",
        "`keepwarm check FILE --show` prints the settings in force.",
        "",
        "| key | default | meaning | environment |",
        "|---|---|---|---|",
    ]
    for path, info in KEYS.items():
        restart = " Takes effect after a restart." if path[:2] in AFTER_RESTART else ""
        meaning = " ".join((info.description or "").splitlines()) + restart
        variable = f"`{variables[path]}`" if path in variables else ""
        lines.append(f"| `{'.'.join(path)}` | `{_written(info.default)}` | {meaning} | {variable} |")
    for path, kind in ENTRIES.items():
        for name, info in kind.model_fields.items() if kind else ():
            meaning = " ".join((info.description or "").splitlines())
            lines.append(f"| `{'.'.join(path)}.{'PATTERN' if kind is Model else 'NAME'}.{name}` | | {meaning} | |")
    lines += [
        "",
        f"A variable that begins with `{PREFIX}` and means no key is an error, as an unknown key is. An empty one",
        "counts as not set. `KEEPWARM_CONFIG` (the file), `KEEPWARM_ADMIN_URL` and `KEEPWARM_ADMIN_TOKEN` are options",
        "of the command line.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or check them with `--check`; return the exit code."""
    files = {
        REPOSITORY / "config" / "keepwarm.yaml": example(),
        REPOSITORY / "config" / "keepwarm.schema.json": json_schema(),
        REPOSITORY / "docs" / "settings.md": reference(),
    }
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" in arguments:
            sys.stderr.write(f"{path}: not up to date, run: python -m proxy.settings.generate\n")
        else:
            path.write_text(files[path], encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
