"""click: CliRunner's input cannot be read to its end by a File argument."""

import sys

sys.path.insert(0, "src")
import click
from click.testing import CliRunner


@click.command()
@click.argument("source", type=click.File())
def count(source):
    """Count the lines of a file."""
    click.echo(len(list(source)))


result = CliRunner().invoke(count, ["-"], input="one\ntwo\n")
sys.exit(0 if (result.exit_code, result.output) == (0, "2\n") else 1)
