"""`python -m bot.local …` is `python -m bot bisect …` with nothing else loaded."""

from bot.local.command import bisect_command

if __name__ == "__main__":
    bisect_command(prog_name="python -m bot.local")
