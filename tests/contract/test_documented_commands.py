"""Every command is documented, and every documented command and option exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from app.cli.commands import app as osteo
from tests.conftest import REPOSITORY
from tests.contract.pages import CURRENT_PAGES
from training.cli import app as osteo_train

PROGRAMS = {
    "osteo": typer.main.get_command(osteo),
    "osteo-train": typer.main.get_command(osteo_train),
}
TYPED = re.compile(r"(?:^|bin/|&& |=\S+ )(osteo(?:-train)?) ([^`\n|>&#]*)", re.M)
"""A program and what follows it, in a block or in a span of code."""


def commands_below(command: Any, name: str) -> Iterator[str]:
    """Every command below a group, as it is typed."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name
    for word, nested in (below or {}).items():
        yield from commands_below(nested, f"{name} {word}")


def typed_on(page: str) -> list[tuple[str, list[str]]]:
    """Programs and their arguments in the code of a page."""
    text = (REPOSITORY / page).read_text().replace("\\\n", " ")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return [
        (program, arguments.split())
        for code in (*blocks, *spans)
        for program, arguments in TYPED.findall(code)
    ]


def options_of(command: Any) -> set[str]:
    return {"--help"}.union(*(set(p.opts) | set(p.secondary_opts) for p in command.params))


def problem_of(program: str, arguments: list[str]) -> str | None:
    """What is wrong with a documented call; None if nothing is."""
    command: Any = PROGRAMS[program]
    words = list(arguments)
    while words and getattr(command, "commands", None) and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no such command: {words[0]}"
        command = command.commands[words.pop(0)]
    known = options_of(command)
    unknown = [word for word in words if re.match(r"--?[a-z]", word)]
    unknown = [word for word in unknown if word.split("=")[0].rstrip(".,;") not in known]
    return f"no such option: {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("name", [n for p, c in PROGRAMS.items() for n in commands_below(c, p)])
def test_every_command_is_documented(name: str) -> None:
    assert any(name in (REPOSITORY / page).read_text() for page in CURRENT_PAGES)


@pytest.mark.parametrize("page", CURRENT_PAGES)
def test_every_documented_command_and_option_exists(page: str) -> None:
    for program, arguments in typed_on(page):
        problem = problem_of(program, arguments)
        assert not problem, f"{program} {' '.join(arguments)}: {problem}"


@pytest.mark.parametrize(
    ("program", "typed", "problem"),
    [
        ("osteo", "serve --port 1", None),
        ("osteo", "serv", "no such command: serv"),
        ("osteo-train", "dataset fetch --uri X", "no such option: --uri"),
        ("osteo-train", "gan samples", "no such command: samples"),
        ("osteo-train", "index --skip", None),
    ],
)
def test_problem_of_names_what_does_not_exist(
    program: str, typed: str, problem: str | None
) -> None:
    assert problem_of(program, typed.split()) == problem


def test_the_readme_is_searched_for_commands() -> None:
    assert ("osteo", ["doctor"]) in typed_on("README.md")


@pytest.mark.parametrize("page", CURRENT_PAGES)
def test_every_documented_make_target_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.M))
    text = (REPOSITORY / page).read_text()
    typed = re.findall(r"(?:`|^)(?:[A-Z_]+=\S+ )*make ([a-z-]+)", text, re.M)
    assert set(typed) <= targets
