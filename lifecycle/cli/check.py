"""`container check`: does all fit together, and if not, what to do."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from lifecycle.cli.options import json_option, pass_lifecycle
from lifecycle.cli.table import terminal
from lifecycle.cli.text import clean
from lifecycle.domain.check import Finding, Level
from lifecycle.runtime.app import Lifecycle
from lifecycle.runtime.check import examine

COLOURS = {Level.OK: "green", Level.SKIP: "bright_black", Level.WARN: "yellow", Level.FAIL: "bold red"}
WIDTHS = (4, 9)  # of a level and of a check's name


@click.command("check")
@json_option
@pass_lifecycle
def check_all(lifecycle: Lifecycle, *, as_json: bool) -> None:
    """Check settings, database, broker and nodes.

    One line each: ok, warn, FAIL with what to do, or skip where another line says what is missing.
    Exits with 1 if any failed.
    """
    lifecycle.app.loader.import_default_modules()
    findings = examine(lifecycle)
    found = list(findings) if as_json else list(told(findings))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    if any(each.level is Level.FAIL for each in found):
        click.get_current_context().exit(1)


def told(findings: Iterable[Finding]) -> Iterable[Finding]:
    """Each is printed as soon as it is known; at the end how many of which."""
    console, counts = terminal(), Counter[Level]()
    for each in findings:
        counts[each.level] += 1
        if console is None:
            click.echo(f"{each.level:{WIDTHS[0]}}  {each.check:{WIDTHS[1]}}  {clean(each.message)}")
        else:
            console.print(line(each))
        yield each
    click.echo(", ".join(f"{counts[level]} {level}" for level in Level if counts[level]))


def line(finding: Finding) -> Table:
    """For a terminal: what does not fit goes on below itself."""
    made = Table.grid(padding=(0, 2, 0, 0))
    for width in WIDTHS:
        made.add_column(width=width)
    made.add_column(overflow="fold")
    made.add_row(Text(finding.level, COLOURS[finding.level]), finding.check, Text(clean(finding.message)))
    return made
