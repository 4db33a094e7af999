"""What the pages for users say is so: examples load, and commands, options, links, paths and names exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click
import pytest
import yaml

from proxy.cli import main
from proxy.domain.settings import POLICIES
from proxy.observe.metrics import Metrics
from proxy.server.admin import AdminSources, admin_app
from proxy.settings import load
from proxy.settings.environment import overlay
from proxy.settings.keys import KEYS
from proxy.settings.yaml_loader import Document
from proxy.status import status_table

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    ROOT / "grafana" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"(?:\$ |ExecStart=|docker exec \S+ )?"  # how it is started
    r"(?:[A-Z_]+=\S+ )*(?:/\S*/)?keepwarm (--version|[a-z]+)( .*)?"
)
# Inline code that begins with '/' and is no path of the admin port: Ollama's API, files.
OTHER_PATHS = ("/api", "/v1", "/etc/", "/var/", "/dev", "/proc")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def fences(page: Path, *languages: str) -> list[str]:
    return [code for language, code in FENCE.findall(page.read_text()) if language in languages or not languages]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def spans(text: str) -> list[str]:
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def slugs(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pages
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for target in re.findall(r"(?:\]\(|\bsrc=\"|srcset=\")([^)\s\"]+)", prose(page)):
        if target.startswith("https://"):
            continue
        file, _, heading = target.partition("#")
        leads_to = (page.parent / file).resolve() if file else page
        assert leads_to.exists(), target
        assert leads_to.is_relative_to(ROOT), target
        assert not heading or heading in slugs(leads_to), target


def settings_examples() -> Iterator[str]:
    """Examples that say they are keepwarm.yaml, and those inside the values of the Helm chart."""
    for page in PAGES:
        for example in fences(page, "yaml"):
            if example.startswith("# keepwarm.yaml\n"):
                yield example
            elif example.startswith("# values.yaml\n"):
                yield yaml.safe_dump(yaml.safe_load(example)["settings"])


def test_every_example_of_settings_is_good(tmp_path: Path) -> None:
    examples = list(settings_examples())
    for example in examples:
        file = tmp_path / "keepwarm.yaml"
        file.write_text(example)
        load(file, {})
    assert len(examples) >= 3  # the README's, the one for an Ollama elsewhere, the one for traces


def test_the_readmes_example_shows_what_a_newcomer_looks_for() -> None:
    example = next(example for example in fences(README, "yaml") if example.startswith("# keepwarm.yaml\n"))
    settings = yaml.safe_load(example)
    rules = settings["models"]
    assert any("*" in pattern for pattern in rules)
    assert any(rule.get("pin") for rule in rules.values())
    assert any(rule.get("never_keep") for rule in rules.values())
    assert "price" in settings["memory"]
    assert "client_keep_alive" in settings


@pages
def test_every_example_of_yaml_is_well_formed(page: Path) -> None:
    for example in fences(page, "yaml"):
        assert isinstance(yaml.safe_load(example), dict)


def shown_commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Every keepwarm command of a page with its options, also those that stand beside it in the same line."""
    for line in "".join(fences(page)).splitlines():
        if shown := COMMAND.fullmatch(line):
            yield shown[1], re.findall(r"(?<!\S)--?[a-z-]+", shown[2] or "")
    for line in prose(page).splitlines():
        in_line = spans(line)
        shown_in_line = [shown for span in in_line if (shown := COMMAND.fullmatch(span))]
        if shown_in_line:
            yield shown_in_line[0][1], re.findall(r"(?<![\w-])--[a-z-]+", " ".join(in_line))


@pages
def test_every_command_and_option_shown_exists(page: Path) -> None:
    for name, options in shown_commands(page):
        command: click.Command = main if name == "--version" else main.commands[name]
        assert set(options) <= options_of(command), name


def options_of(command: click.Command) -> set[str]:
    own = {option for parameter in command.get_params(click.Context(command)) for option in parameter.opts}
    return own.union(*map(options_of, command.commands.values() if isinstance(command, click.Group) else ()))


def test_the_readme_shows_every_command() -> None:
    assert {name for name, _ in shown_commands(README)} == set(main.commands)


@pages
def test_every_make_target_shown_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = [*spans(prose(page)), *"".join(fences(page)).splitlines()]
    for shown in named:
        # VARIABLE=value may stand before it.
        if targets := re.fullmatch(r"(?:[A-Z_]+=\S+ )*make((?: [a-z]+)+)", shown):
            for target in targets[1].split():
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), shown


def _never_asked(*_: object) -> NoReturn:
    raise AssertionError


def admin_paths() -> set[str]:
    sources = AdminSources(_never_asked, _never_asked, _never_asked, _never_asked, _never_asked)
    return {resource.canonical for resource in admin_app(sources, Metrics(1), "0").router.resources()}


def shown_admin_paths(page: Path) -> set[str]:
    in_spans = (re.fullmatch(r"(?:GET |POST )?(/[a-z]\S*)", span) for span in spans(prose(page)))
    shown = {match[1] for match in in_spans if match and not match[1].startswith(OTHER_PATHS)}
    shown |= set(re.findall(r":11436(/[^\s`'\"]+)", page.read_text()))
    return shown | set(re.findall(r"^ +path: (/\S+)$", "".join(fences(page, "yaml")), re.MULTILINE))


@pages
def test_every_path_of_the_admin_port_shown_exists(page: Path) -> None:
    assert shown_admin_paths(page) <= admin_paths()


def test_the_readme_shows_every_path_of_the_admin_port() -> None:
    assert shown_admin_paths(README) == admin_paths()


@pages
def test_every_environment_variable_shown_is_one_of_ours(page: Path) -> None:
    shown = set(re.findall(r"\bKEEPWARM_[A-Z_]*[A-Z]\b", page.read_text()))
    document = Document({}, {})
    overlay(document, dict.fromkeys(shown, "?"))
    assert document.problems == []


@pages
def test_every_key_of_the_settings_shown_exists(page: Path) -> None:
    keys = {".".join(path[:depth]) for path in KEYS for depth in range(1, len(path) + 1)}
    sections = {key.partition(".")[0] for key in keys if "." in key}
    for span in spans(prose(page)):
        name = span.partition(":")[0]
        if re.fullmatch(r"[a-z_]+\.[a-z_]+", name) and name.partition(".")[0] in sections:
            assert name in keys


@pages
def test_every_policy_shown_exists(page: Path) -> None:
    assert set(re.findall(r"`policy: (\w+)`", page.read_text())) <= set(POLICIES)


@pages
def test_every_metric_shown_is_in_the_list_of_metrics(page: Path) -> None:
    known = set(re.findall(r"^\| `(keepwarm_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    for shown in re.findall(r"\bkeepwarm_[a-z_]*[a-z]\b", page.read_text()):
        assert {shown, re.sub(r"_(bucket|sum|count)$", "", shown)} & known


def test_the_status_table_shown_has_the_columns_of_today() -> None:
    nothing: dict[str, object] = {
        "residents": [],
        "budget_bytes": None,
        "used_bytes": 0,
        "budget_source": "",
        "operation": None,
    }
    head = status_table({**nothing, "upstream_known": True, "waiting": 0}).splitlines()[-1].split()
    assert any(line.split() == head for line in "".join(fences(README, "console")).splitlines())
