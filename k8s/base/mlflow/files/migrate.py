"""Create or update the tables of MLflow and of its users, one pod at a time.

MLflow's commands do the work; a lock in the database makes a second pod that starts at the same time wait, and then
find nothing left to do. Where the database is and who logs in: libpq's PG* variables.
"""

import logging
import os
import time

import psycopg2
from mlflow.db import commands as tables
from mlflow.server.auth.db.cli import commands as users

LOCK = 7203581  # any number that nobody else locks in this database
SECONDS_TO_WAIT = 300.0

logger = logging.getLogger("migrate")


def connect(seconds: float) -> "psycopg2.extensions.connection":
    """Connect as soon as the database answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return psycopg2.connect("")
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"no database after {seconds:.0f} s: {error}") from error
            logger.info("waiting for the database: %s", str(error).strip().splitlines()[-1])
            time.sleep(2)


def main() -> None:
    """Run both migrations under the lock."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    url = os.environ["MLFLOW_BACKEND_STORE_URI"]
    connection = connect(SECONDS_TO_WAIT)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        tables.main(["upgrade", url], standalone_mode=False)  # mlflow db upgrade
        users.main(["upgrade", "--url", url], standalone_mode=False)  # python -m mlflow.server.auth db upgrade
    connection.close()  # frees the lock
    logger.info("the tables are up to date")


if __name__ == "__main__":
    main()
