"""Print the headline rows of leaderboard.csv as text tables."""

from typing import Any

from rich.console import Console

from pointlift.contracts.command import Parser, run
from pointlift.contracts.settings import parse
from pointlift.reporting.slices import ShowSettings
from pointlift.reporting.tables import LEADERBOARD_COLUMNS, read_table
from pointlift.reporting.terminal import print_leaderboard


def main(arguments: Any) -> None:
    parse(ShowSettings, arguments.settings, "show_leaderboard")
    console = Console(highlight=False)
    print_leaderboard(
        read_table(arguments.leaderboard, LEADERBOARD_COLUMNS),
        console if console.is_terminal else Console(width=120, highlight=False),
    )


if __name__ == "__main__":
    run(main, Parser(__doc__).add_paths("leaderboard").parse_args())
