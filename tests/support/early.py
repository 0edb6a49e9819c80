"""Databases as commit 378a120 wrote them, on each engine. The keys in them are those of the tests.

The dumps in tests/early were made with that commit's code on SQLite, against its own sandbox carriers:

378a120.sql         one workspace: a number at each carrier and a second one at Twilio, a call, somebody of the support desk
378a120_shared.sql  two workspaces that share a Twilio account, a number of it, and a Plivo account; calls with recordings
378a120_twice.sql   one workspace, in which two users have a Telnyx number, one of them with an application of their own
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from core.databases import copying, from_url
from core.databases.copying import SOURCE, TARGET
from tests.support import PROJECT
from tests.support.database import Database, apart
from tests.support.engines.sqlite import SQLite

EARLY = PROJECT / "tests" / "early"


@contextmanager
def early_database(dump: str, folder: Path) -> Iterator[Database]:
    """The default connection leads to a database with what the dump holds. It must be allowed to connect."""
    folder.mkdir(exist_ok=True)
    database = apart(folder)
    written = SQLite(folder)
    with written.apart() as early:
        early.executescript((EARLY / dump).read_text())
    database.create()
    try:
        with database.connected():
            if database.url != written.url:
                move(written.url)
            yield database
    finally:
        database.drop()


def move(source: str) -> None:
    """Fill the empty database of the default connection as the early version would have."""
    connections.settings[SOURCE] = connections.configure_settings({"default": from_url("early", source)})["default"]
    connections[TARGET] = connections["default"]
    try:
        loader = MigrationLoader(connections[SOURCE])
        applied = set(loader.applied_migrations)
        newest = [key for key in applied & set(loader.graph.nodes) if not is_followed(loader, key, applied)]
        MigrationExecutor(connection).migrate(newest)
        for model in early_apps().get_models(include_auto_created=True):
            model._base_manager.all()._raw_delete("default")
            copying.fill(model, lambda rows: None)
    finally:
        connections[SOURCE].close()
        del connections[SOURCE], connections.settings[SOURCE], connections[TARGET]


def is_followed(loader: MigrationLoader, key: tuple[str, str], applied: set[tuple[str, str]]) -> bool:
    return any(child.key[0] == key[0] and child.key in applied for child in loader.graph.node_map[key].children)


def early_apps() -> Any:
    """The models as of the migrations that have been applied."""
    return MigrationExecutor(connection)._create_project_state(with_applied_migrations=True).apps  # type: ignore[attr-defined]
