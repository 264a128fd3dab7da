"""The pages say what the program does: commands, options, config keys, links, and shell blocks that run."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import click
import pytest

from updater.settings import Settings

ROOT = Path(__file__).parents[2]
REFERENCE = ("docs/operations.md", "docs/data_contracts.md")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^<!-- test -->\n+```(?:bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)#\s]+)\)")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)[^)]*\)")


def text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        elif not command.hidden:
            yield f"{prefix} {name}", command


def config_keys() -> Iterator[tuple[str, str]]:
    """Every (table, key) of the config file; the table of a top-level value is empty."""
    hints = get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        kind = next(iter(get_args(hints[field.name])), hints[field.name])
        if dataclasses.is_dataclass(kind):
            yield from _table_keys(field.name, kind)
        elif field.name != "source":
            yield "", field.name


def _table_keys(table: str, kind: type) -> Iterator[tuple[str, str]]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _table_keys(f"{table}.{field.name}", hints[field.name])
        elif field.name != "options":
            yield table, field.name


def shell_script(block: str) -> str:
    """The commands of a block: all of it, or with `$ ` prompts only what follows them (and `> ` continuations)."""
    if not re.search(r"^\$ ", block, re.MULTILINE):
        return block
    return "".join(f"{line[2:]}\n" for line in block.splitlines() if line.startswith(("$ ", "> ")))


def runnable_blocks() -> list[tuple[Path, str]]:
    return [(page, shell_script(block)) for page in PAGES if page.exists() for block in BLOCK.findall(page.read_text())]


def test_every_picture_is_shown_and_small():
    shown = {
        (page.parent / link).resolve()
        for page in [*PAGES, *sorted((ROOT / "benchmarks").rglob("*.md"))]
        for link in IMAGE.findall(page.read_text(encoding="utf-8"))
    }
    pictures = sorted((ROOT / "docs").rglob("*.png"))
    assert len(pictures) > 5
    assert [picture for picture in pictures if picture not in shown] == []
    assert [picture for picture in pictures if picture.stat().st_size >= 150_000] == []
    widths = {int.from_bytes(picture.read_bytes()[16:20], "big") for picture in pictures}
    assert widths == {1280}


def test_every_command_and_option_is_documented_and_has_help():
    from updater.cli import main

    assert isinstance(main, click.Group)
    pages = text("docs/operations.md")
    wrong = []
    for path, command in commands(main, "updater"):
        if not re.search(rf"{re.escape(path)}\b", pages):
            wrong.append(f"{path} is in no page")
        if not command.get_short_help_str():
            wrong.append(f"{path} has no help")
        for option in (parameter for parameter in command.params if isinstance(parameter, click.Option)):
            name = max(option.opts, key=len)
            if not option.hidden and not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", pages):
                wrong.append(f"{path} {name} is in no page")
            if not option.hidden and not option.help:
                wrong.append(f"{path} {name} has no help")
    assert not wrong


def test_every_config_key_is_described():
    pages = text(*REFERENCE)
    wrong = [
        f"[{table}] {key}" if table else key
        for table, key in config_keys()
        if not re.search(rf"`(?:{table}\.)?{key}`|^\s*{key} = ", pages, re.MULTILINE)
    ]
    assert not wrong


def test_the_config_keys_are_found():
    keys = set(config_keys())
    assert {("", "timezone"), ("ledger", "url"), ("modalities", "max_events"), ("scenarios", "query")} <= keys
    assert {("profile", "enabled"), ("profile.language_model", "max_users")} <= keys


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_the_quickstart_has_runnable_blocks():
    assert any(page.name == "quickstart.md" for page, _ in runnable_blocks())


def test_the_readme_is_read_in_three_minutes():
    assert len(text("README.md").split()) <= 1000


@pytest.mark.slow
@pytest.mark.parametrize(("page", "script"), [pytest.param(*block, id=block[0].name) for block in runnable_blocks()])
def test_shell_blocks_run(page, script, tmp_path):
    copy = tmp_path / "checkout"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(sys.prefix)
    path = os.pathsep.join([str(Path(sys.prefix, "bin")), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=copy,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{page.name}:\n{script}\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize(
    ("markdown", "scripts"),
    [
        ("<!-- test -->\n```bash\nls\nls docs\n```\n", ["ls\nls docs\n"]),
        ("<!-- test -->\n\n```console\n$ ls \\\n> docs\nadr\n$ true\n```\n", ["ls \\\ndocs\ntrue\n"]),
        ("```bash\nrm everything\n```\n", []),
        ("<!-- test -->\n```toml\na = 1\n```\n", []),
        ("<!-- test -->\n```bash\none\n```\ntext\n```bash\ntwo\n```\n", ["one\n"]),
    ],
)
def test_only_marked_shell_blocks_are_runnable(markdown, scripts):
    assert [shell_script(block) for block in BLOCK.findall(markdown)] == scripts
