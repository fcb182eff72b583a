"""The command line `vljepa`: one file per verb, loaded when it is asked for.

Exit codes: 0 done; 1 it went wrong at run time, or a check failed; 2 the command or what it was
given is wrong. Errors are one line on stderr. VLJEPA_DEBUG=1 shows tracebacks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

# Verb -> the line that `vljepa --help` shows, kept here so that help needs no verb's imports.
COMMANDS = {
    "run": "Watch a video, folder or camera; print a caption when the meaning shifts.",
    "assist": "Watch, and serve a page that shows, alerts, answers and remembers.",
    "memory": "Show, search, export or erase what an assistant remembers.",
    "inspect": "Show what a bundle or image holds.",
    "doctor": "Rerun a bundle's golden vectors on this machine and compare.",
    "pack": "Pack a bundle into one image file for firmware.",
    "query": "Compile queries into a bundle.",
    "export": "Turn a checkpoint into a bundle.",
    "train": "Train a model on sprite world.",
    "eval": "Judge a checkpoint or bundle on sprite world.",
    "bench": "Measure bundles here; predict other devices; compare results.",
    "calibrate": "Quantise a bundle to INT8 or FP8, or fit its gate.",
    "compare": "Tell how far one bundle decides as another does.",
}


class LazyGroup(click.Group):
    """Finds a verb's function `command` in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one verb."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"vljepa_edge.cli.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"vljepa {version('vljepa-edge')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def group() -> None:
    """Always-on VL-JEPA: a video goes in, captions come out when its meaning shifts."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a verb and turns what goes wrong into one line and an exit code."""
    try:
        code = group.main(arguments, prog_name="vljepa", standalone_mode=False)
    except Exception as error:
        if os.environ.get("VLJEPA_DEBUG") == "1":
            raise
        from vljepa_edge.cli.failure import report

        code = report(error)
    except KeyboardInterrupt:
        print("vljepa: interrupted", file=sys.stderr)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
