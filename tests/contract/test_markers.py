"""The folders that are marked as slow exist, and tests have one order in every worker process."""

from __future__ import annotations

import pytest

from tests.conftest import REPOSITORY, SLOW

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("path", SLOW)
def test_every_slow_path_exists(path: str) -> None:
    assert (REPOSITORY / "tests" / path).exists()


@pytest.mark.parametrize("values", ["{1, 2}", "frozenset({1, 2})"])
def test_parameters_in_no_order_are_refused_at_collection(
    pytester: pytest.Pytester, values: str
) -> None:
    pytester.makeconftest("from tests.conftest import pytest_generate_tests")
    mark = f"@pytest.mark.parametrize('value', {values})"
    pytester.makepyfile(f"import pytest\n{mark}\ndef test_it(value): pass")
    result = pytester.runpytest("-p", "no:schemathesis")
    result.stdout.fnmatch_lines(["*test_it is parametrized over a *set, whose order differs*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_parameters_in_order_are_collected(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.conftest import pytest_generate_tests")
    marks = (
        f"@pytest.mark.parametrize('value_{number}', {values})"
        for number, values in enumerate(("(1, 2)", "{1: 2, 3: 4}", "{1: 2}.items()"))
    )
    body = "def test_it(value_0, value_1, value_2): pass"
    pytester.makepyfile("\n".join(["import pytest", *marks, body]))
    pytester.runpytest("-p", "no:schemathesis").assert_outcomes(passed=4)
