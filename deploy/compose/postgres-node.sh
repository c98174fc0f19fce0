#!/bin/sh
# Run by the PostgreSQL image when it makes its cluster, as its administrator: the node's role, database and password.
set -eu
folder=${NODE_SQL_FOLDER:-/srv/phr-postgres}
# The password goes from its file to the server, by no argument and no environment, and into no log.
psql --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres --file "$folder/node.sql" --file - <<'SQL'
\set password `cat "${NODE_PASSWORD_FILE:-/run/secrets/node-database-password}"`
SET log_statement = 'none';
SET log_min_duration_statement = -1;
ALTER ROLE phr_node PASSWORD :'password';
SQL
