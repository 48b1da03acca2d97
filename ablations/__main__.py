"""``ablate``, and ``python -m ablations``. Workers import this too, so it imports little."""

from ablations.leaving import leave_quickly


def run() -> None:
    """The entry point of the command line."""
    ended_with = leave_quickly()
    from ablations.cli import main

    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            ended_with(end.code or 0)
        raise
    ended_with(0)


if __name__ == "__main__":
    run()
