"""`python -m bot`, installed as `playbooks`."""

from bot import loading

with loading():
    from bot.cli import main

if __name__ == "__main__":
    main()
