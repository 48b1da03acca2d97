"""Stores on a database server: their tables are made once, their drivers may be missing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ablations.seeds import stream_seed
from ablations.study import InputError


@contextmanager
def made_once(url: str, option: str) -> Iterator[None]:
    """Let one process at a time, on whatever machine, make the tables of a PostgreSQL store.

    Any other store belongs to one parent, or makes its own tables.

    Args:
        url: Where the store is.
        option: Who named it, for errors.

    Raises:
        InputError: No driver is installed, or the server cannot be reached.
    """
    if not url.startswith("postgresql"):
        yield
        return
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    except ModuleNotFoundError as error:
        told = f"{error.name} is not installed: pip install 'ablations[postgres]', and begin with "
        raise InputError(
            f"{told}postgresql+psycopg://", file=option, key=without_password(url)
        ) from error
    try:
        connection = engine.connect()
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise trouble("cannot be opened", error, option, url) from error
    with connection:
        key = stream_seed("ablations", "stores")
        connection.execute(sqlalchemy.text("select pg_advisory_lock(:key)"), {"key": key})
        try:
            yield
        finally:
            connection.execute(sqlalchemy.text("select pg_advisory_unlock(:key)"), {"key": key})
    engine.dispose()


def check_store(url: str, option: str) -> None:
    """See that a PostgreSQL server answers; any other store shows when it is opened.

    Raises:
        InputError: As `made_once` does.
    """
    with made_once(url, option):
        pass


def trouble(told: str, error: Exception, option: str, url: str) -> InputError:
    """One line for a store that cannot be opened or has gone away."""
    reason = without_password((str(error).strip().splitlines() or [type(error).__name__])[0])
    return InputError(f"{told}: {reason[:300]}", file=option, key=without_password(url))


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", url)
