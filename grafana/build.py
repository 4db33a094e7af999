"""Writes the dashboards: `python -m grafana.build`. A test compares what is committed with what this would write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.decisions import decisions
from grafana.one_model import model_board
from grafana.operation import operation
from grafana.overview import overview

FOLDER: Final = Path(__file__).parent / "dashboards"


def dashboards() -> dict[str, str]:
    """Return the content of each file in the folder of dashboards, by its name."""
    built = {"overview": overview(), "model": model_board(), "decisions": decisions(), "proxy": operation()}
    return {f"{name}.json": _text(dashboard) for name, dashboard in built.items()}


def _text(dashboard: object) -> str:
    return json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
