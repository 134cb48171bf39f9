"""Which database a connection is of, as spans tell it."""

from __future__ import annotations

import functools
from typing import Any

from opentelemetry.semconv._incubating.attributes.db_attributes import DbSystemNameValues as MoreSystems
from opentelemetry.semconv.attributes.db_attributes import DB_NAMESPACE, DB_SYSTEM_NAME, DbSystemNameValues
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT

from watchkeeper.databases.statements import Statements, ansi_statements, mysql_statements

POSTGRESQL = DbSystemNameValues.POSTGRESQL.value
MYSQL, MARIADB = DbSystemNameValues.MYSQL.value, DbSystemNameValues.MARIADB.value
MOST_TARGETS = 256  # that are remembered
OTHER_SQL = MoreSystems.OTHER_SQL.value
_SYSTEMS = frozenset(system.value for system in MoreSystems)
_SYNONYMS = {
    "mssql": DbSystemNameValues.MICROSOFT_SQL_SERVER.value,
    "oracle": MoreSystems.ORACLE_DB.value,
    "redshift": MoreSystems.AWS_REDSHIFT.value,
}
_PORTS = {POSTGRESQL: 5432, MYSQL: 3306, MARIADB: 3306}
_WITH_BACKSLASHES = frozenset({MYSQL, MARIADB, "clickhouse", "bigquery", "databricks", "hive", "impala", "doris"})


class Target:
    """One database of one server. `target` gives the one of each."""

    __slots__ = ("attributes", "pool_name", "statements", "system")

    def __init__(self, system: str, address: str, port: int | None, namespace: str) -> None:
        self.system = _SYNONYMS.get(system, system if system in _SYSTEMS else OTHER_SQL)
        self.attributes: dict[str, Any] = {DB_SYSTEM_NAME: self.system}
        if namespace:
            self.attributes[DB_NAMESPACE] = namespace
        where = address or self.system
        if address:
            self.attributes[SERVER_ADDRESS] = address
            port = port or _PORTS.get(self.system)
            if port and not address.startswith("/"):  # a socket's path
                self.attributes[SERVER_PORT] = port
                where = f"{address}:{port}"
        self.pool_name = f"{where}/{namespace}"
        self.statements: Statements = mysql_statements if system in _WITH_BACKSLASHES else ansi_statements


@functools.lru_cache(maxsize=MOST_TARGETS)
def target(system: str, address: str = "", port: int | None = None, namespace: str = "") -> Target:
    """The target; the port may be left to what is usual."""
    return Target(system, address, port, namespace)


def mysql_target(connection: Any) -> Target:
    """The target of a connection of PyMySQL or aiomysql."""
    socket, database = connection.unix_socket, connection.db or ""
    if isinstance(database, bytes):
        database = database.decode(errors="replace")
    system = MARIADB if "MariaDB" in (connection.server_version or "") else MYSQL
    return target(system, socket or connection.host or "", None if socket else connection.port, database)
