"""Run the command `osteo` as `python -m app`."""

from __future__ import annotations

import sys

_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> None:
    """Run the command; Ctrl-C ends it with one sentence even while Python still imports."""
    try:
        from app.cli.commands import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("osteo: Interrupted.\n")
        sys.exit(_EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
