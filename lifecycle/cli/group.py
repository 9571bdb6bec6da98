"""A click group that imports a verb only when it is used, and says what went wrong in one line."""

import logging
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())  # before click 8.2 the help is no error


class Verb(NamedTuple):
    """Where a verb's command is (`module:function` of this package), and its line in the help."""

    home: str
    summary: str
    aliases: tuple[str, ...] = ()


class Refusal(click.ClickException):
    """What is wrong and what to do, in one line on stderr."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Misuse(Refusal):
    """A command that cannot be meant."""

    exit_code = 2


class VerbGroup(click.Group):
    """The group of `verbs`; aliases work but are not listed as verbs."""

    def __init__(self, *args: Any, verbs: Mapping[str, Verb] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = dict(verbs or {})
        self._names = {alias: name for name, verb in self.verbs.items() for alias in (name, *verb.aliases)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of their table."""
        return [*self.verbs, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module now."""
        name = self._names.get(cmd_name)
        if name is None:
            return super().get_command(ctx, cmd_name)
        module, _, function = self.verbs[name].home.partition(":")
        command: click.Command = getattr(import_module(f"lifecycle.cli.{module}"), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from their table, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(", ".join((name, *verb.aliases)), verb.summary) for name, verb in self.verbs.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse bytes that are no text: no database takes them."""
        for arg in args:
            if not arg.isprintable() and any("\ud800" <= character <= "\udfff" for character in arg):
                raise Misuse(f"not UTF-8: {arg!a}")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; a mistake or an outage is one line, never a traceback."""
        _print_what_can_be_printed()
        logging.getLogger("lifecycle").addHandler(logging.NullHandler())  # the verbs say it themselves
        try:
            return super().invoke(ctx)
        except NO_ARGUMENTS:
            raise
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else ctx.command_path
            raise Misuse(f"{error.format_message()} (see {path} --help)") from error
        except Exception as error:
            if refusal := _refusal(error):
                raise refusal from error
            raise


def _refusal(error: Exception) -> Refusal | None:
    """What a user can mend; anything else is our mistake and keeps its traceback."""
    from kombu.exceptions import OperationalError

    from lifecycle.cli.text import clean
    from lifecycle.errors import LifecycleError

    if isinstance(error, LifecycleError):
        return Refusal(clean(str(error)))
    if isinstance(error, OperationalError):
        return Refusal(f"the broker cannot be used: {clean(str(error))}")
    return None


def _print_what_can_be_printed() -> None:
    """A terminal without Unicode gets question marks instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
