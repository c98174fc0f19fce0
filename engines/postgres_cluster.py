"""Making and deleting a PostgreSQL cluster of this machine; ``engines.postgres`` starts it and fills it."""

import os
import pwd
import shutil
import time
from pathlib import Path

from engines.errors import EngineFailed
from engines.postgres import ADMINISTRATOR, PostgresServer
from engines.postgres_place import find_postgres, make_place, server_user, write_for
from engines.processes import POLL_SECONDS

_REMOVE_SECONDS = 30.0
_SETTINGS = """\
# Written by phr when the cluster was made. What it acknowledged must survive a crash: leave these three on.
fsync = on
full_page_writes = on
synchronous_commit = on
listen_addresses = ''
unix_socket_directories = '{socket}'
unix_socket_permissions = 0700
max_connections = {connections}
shared_buffers = 64MB
max_wal_size = 512MB
password_encryption = scram-sha-256
# No value of any row in the log: an error's DETAIL line shows keys such as medical record numbers.
log_error_verbosity = terse
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""
_ACCESS = f"""\
# Written by phr. TYPE DATABASE USER METHOD
local all {ADMINISTRATOR} peer map=phr
local sameuser all scram-sha-256
"""


def create_cluster(directory: Path, *, connections: int = 250) -> PostgresServer:
    """Makes a cluster below ``directory``, or finds the one that is there; it is not started.

    Where root makes it in a place that the server's user cannot enter, such as below /root, the cluster lies in
    /var/lib/phr and ``directory`` is a link to it. An interrupted run is begun anew.

    Args:
        connections: how many may be open at once; a node takes up to 20.

    Raises:
        EngineNotBuilt: PostgreSQL is not installed.
        EngineFailed: it cannot be made there; the message says why.
    """
    binaries, user = find_postgres(), server_user()
    server = PostgresServer(make_place(directory.absolute(), user), binaries, user)
    if server.exists:
        return server
    fresh = server.directory / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    arguments = ("-U", ADMINISTRATOR, "-E", "UTF8", "--locale=C", "--data-checksums", "--no-instructions")
    server.run("initdb", "-D", str(fresh), *arguments, "--auth-local=peer", "--auth-host=reject")
    socket = str(server.socket_directory).replace("'", "''")
    settings = _SETTINGS.format(socket=socket, connections=connections)
    with (fresh / "postgresql.conf").open("a") as file:
        file.write(settings)
    write_for(user, fresh / "pg_hba.conf", _ACCESS)
    names = dict.fromkeys((pwd.getpwuid(os.geteuid()).pw_name, user.pw_name))
    write_for(user, fresh / "pg_ident.conf", "".join(f'phr "{name}" {ADMINISTRATOR}\n' for name in names))
    os.sync()
    fresh.rename(server.data)
    return server


def remove_cluster(directory: Path) -> None:
    """Stops and deletes a cluster, also where ``directory`` is a link to it. What is not there is no error.

    Raises:
        EngineFailed: it cannot be deleted; a link to it stays, so that it can be found.
    """
    if (directory / "data" / "PG_VERSION").exists():
        server = PostgresServer.open(directory)
        server.kill()
        shutil.rmtree(server.socket_directory, ignore_errors=True)
    place, deadline = directory.resolve(), time.monotonic() + _REMOVE_SECONDS
    while True:
        # An initdb that outlived whoever started it may write meanwhile; it ends when its directory is gone.
        shutil.rmtree(place, ignore_errors=True)
        if not place.exists():
            break
        if time.monotonic() > deadline:
            raise EngineFailed(f"expected to delete the cluster in {place}; it is still there: try again")
        time.sleep(POLL_SECONDS)
    if directory.is_symlink():
        directory.unlink()
