"""The steps of a release: which are done, which were skipped and why, which failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deploy.release.errors import ReleaseError

Step = Callable[[], str]
"""Does its work and returns what it did, in a few words."""


class SkippedError(Exception):
    """Raised by a step that is left out; the message is the reason."""


@dataclass
class Checklist:
    """Runs steps in their order until one fails.

    Attributes:
        steps: what to do, by name.
        show: takes each line as soon as it is known.
        states: `done`, `skipped: REASON`, `failed` or `not reached` of each step.
    """

    steps: Mapping[str, Step]
    show: Callable[[str], None]
    states: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Run all steps.

        Raises:
            ReleaseError: a step failed; those after it were not run.
        """
        self.states = dict.fromkeys(self.steps, "not reached")
        try:
            for name, step in self.steps.items():
                self._run_step(name, step)
        finally:
            for name, state in self.states.items():
                if state == "not reached":
                    self.show(_row("not reached", name, ""))

    def _run_step(self, name: str, step: Step) -> None:
        try:
            said = step()
        except SkippedError as reason:
            self.states[name] = f"skipped: {reason}"
            self.show(_row("skipped", name, str(reason)))
        except ReleaseError as error:
            self.states[name] = "failed"
            self.show(_row("FAILED", name, str(error)))
            raise
        else:
            self.states[name] = "done"
            self.show(_row("done", name, said))


def _row(state: str, name: str, said: str) -> str:
    return f"{state:12} {name:14} {said}".rstrip()
