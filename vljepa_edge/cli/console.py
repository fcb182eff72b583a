"""Output: results on stdout, a progress bar on stderr when that is a terminal."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Output:
    """Prints lines and, on a terminal, a bar below. `quiet`: lines for people go to stderr.

    `total` None: unknown (a camera).
    """

    def __init__(self, title: str, total: int | None, quiet: bool = False) -> None:
        self._to = sys.stderr if quiet else sys.stdout
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._progress.add_task(title, total=total)

    def __enter__(self) -> Output:
        self._context().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context().__exit__(kind, error, trace)

    def _context(self) -> AbstractContextManager[object]:
        return self._progress if self._progress is not None else nullcontext()

    def say(self, line: str) -> None:
        """A line for people."""
        self._write(line, self._to is sys.stderr)

    def result(self, line: str) -> None:
        """A line of results, always on stdout."""
        self._write(line, False)

    def _write(self, line: str, to_stderr: bool) -> None:
        if self._progress is not None and (to_stderr or sys.stdout.isatty()):
            # Through the bar's console, which moves the bar down.
            self._progress.console.print(line, markup=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr if to_stderr else sys.stdout, flush=True)

    def advance_to(self, done: int, total: int | None = None) -> None:
        """Moves the bar; `total` when it is known only now."""
        if self._progress is not None:
            if total is None:
                self._progress.update(self._task, completed=done)
            else:
                self._progress.update(self._task, completed=done, total=total)
