"""Which database a connection is of, as spans tell it."""

from __future__ import annotations

from typing import Any

from opentelemetry.semconv._incubating.attributes.db_attributes import DbSystemNameValues as MoreSystems
from opentelemetry.semconv.attributes.db_attributes import DB_NAMESPACE, DB_SYSTEM_NAME, DbSystemNameValues
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT

from watchkeeper.databases.statements import Statements, ansi_statements, mysql_statements

POSTGRESQL = DbSystemNameValues.POSTGRESQL.value
MYSQL, MARIADB = DbSystemNameValues.MYSQL.value, DbSystemNameValues.MARIADB.value
OTHER_SQL = MoreSystems.OTHER_SQL.value
_SYSTEMS = frozenset(system.value for system in MoreSystems)
_SYNONYMS = {
    "mssql": DbSystemNameValues.MICROSOFT_SQL_SERVER.value,
    "oracle": MoreSystems.ORACLE_DB.value,
    "redshift": MoreSystems.AWS_REDSHIFT.value,
}
_WITH_BACKSLASHES = frozenset({MYSQL, MARIADB, "clickhouse", "bigquery", "databricks", "hive", "impala", "doris"})


class Target:
    """One database of one server. Made once a connection, not once a statement."""

    __slots__ = ("attributes", "pool_name", "statements", "system")

    def __init__(self, system: str, address: str, port: int | None, namespace: str) -> None:
        self.system = _SYNONYMS.get(system, system if system in _SYSTEMS else OTHER_SQL)
        self.attributes: dict[str, Any] = {DB_SYSTEM_NAME: self.system}
        if namespace:
            self.attributes[DB_NAMESPACE] = namespace
        if address:
            self.attributes[SERVER_ADDRESS] = address
            if port and not address.startswith("/"):  # a socket's path
                self.attributes[SERVER_PORT] = port
        self.pool_name = f"{address or self.system}/{namespace}"
        self.statements: Statements = mysql_statements if system in _WITH_BACKSLASHES else ansi_statements


_MOST_TARGETS = 256
_mysql_targets: dict[tuple[object, ...], Target] = {}


def mysql_target(connection: Any) -> Target:
    """The target of a connection of PyMySQL or aiomysql, which may have been told to use another database since."""
    socket = connection.unix_socket
    version = connection.server_version
    key = (socket, connection.host, connection.port, connection.db, version)
    target = _mysql_targets.get(key)
    if target is None:
        if len(_mysql_targets) >= _MOST_TARGETS:
            _mysql_targets.clear()
        database = connection.db or ""
        if isinstance(database, bytes):
            database = database.decode(errors="replace")
        system = MARIADB if "mariadb" in str(version).lower() else MYSQL
        target = Target(system, str(socket or connection.host or ""), None if socket else connection.port, database)
        _mysql_targets[key] = target
    return target
