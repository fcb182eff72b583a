"""What export and bundle checks raise: one sentence that names the thing, and the next step."""

from __future__ import annotations


class ExportError(Exception):
    """A bundle, checkpoint or graph that cannot be used as asked. `hint` says what to do."""

    # The command line tells such errors in one line, exit code 2.
    is_user_error = True

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.hint = hint


class Unfinished(ExportError):
    """An export that ended from outside: what it had finished is kept for the next try."""
