"""PostgreSQL of this machine: a cluster in a directory of its own, reached through a Unix socket only.

Who may connect: the administrator role ``postgres`` is whoever runs this program, by the kernel's word (``peer``); a
member's role gets into the database of its own name and no other, by a password (SCRAM-SHA-256) that lies in a file
of mode 0600. Nobody is trusted without either, TCP is off, and the socket's directory is for the server's user only.

PostgreSQL refuses to run as root: started by root it runs as the user ``postgres`` (Debian's package makes it).
"""

import contextlib
import hashlib
import os
import pwd
import re
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from crypto.private_file import atomic_write_private, read_private
from engines.errors import EngineFailed, EnginesError
from engines.postgres_place import find_postgres, make_directory, server_user
from engines.processes import exclusive

ADMINISTRATOR = "postgres"
"""The role that makes databases."""
START_SECONDS = 120
"""Recovery after a kill is part of a start."""
STOP_SECONDS = 60
LONGEST_SOCKET_DIRECTORY = 90
"""A Unix socket's path has 107 bytes at most, of which the server needs the last ones for its own name."""
_PASSWORD_FILE_BYTES = 4096
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class PostgresServer:
    """A cluster: ``data/``, ``socket/`` and ``server.log`` below ``directory``. It holds no state: open it at will."""

    directory: Path
    binaries: Path
    user: pwd.struct_passwd

    @classmethod
    def open(cls, directory: Path) -> "PostgresServer":
        """The cluster that ``create_cluster`` made of this directory.

        Raises:
            EngineFailed: there is none.
        """
        server = cls(directory.resolve(), find_postgres(), server_user())
        if not server.exists:
            raise EngineFailed(f"expected a PostgreSQL cluster in {directory}; there is none")
        return server

    @property
    def data(self) -> Path:
        """The cluster's data directory."""
        return self.directory / "data"

    @property
    def exists(self) -> bool:
        """Whether the cluster was made."""
        return (self.data / "PG_VERSION").exists()

    @property
    def log_path(self) -> Path:
        """What the server says, appended over restarts."""
        return self.directory / "server.log"

    @property
    def socket_directory(self) -> Path:
        """Where the socket is: in the directory, or below /tmp where that path would be too long for a socket."""
        inside = self.directory / "socket"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_DIRECTORY:
            return inside
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path("/tmp") / f"phr-postgres-{name}"  # noqa: S108 - checked to be the server's own before each start

    def process(self) -> psutil.Process | None:
        """The running server (its postmaster), or None."""
        try:
            words = (self.data / "postmaster.pid").read_text().splitlines()
            process = psutil.Process(int(words[0]))
            same = abs(process.create_time() - int(words[2])) < 10
            alive = process.status() != psutil.STATUS_ZOMBIE
            return process if same and alive and Path(words[1]) == self.data else None
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return None

    def start(self) -> None:
        """Starts the server, unless it runs, detached; returns when it takes connections.

        Raises:
            EngineFailed: it did not start; with the end of its log.
        """
        with exclusive(self.directory / "lock"):
            if self.process() is not None and self.is_ready():
                return
            make_directory(self.socket_directory, self.user)
            try:
                waiting = ("-s", "-w", "-t", str(START_SECONDS), "-l", str(self.log_path))
                self.run("pg_ctl", "-D", str(self.data), *waiting, "start")
            except EngineFailed as error:
                raise EngineFailed(
                    f"PostgreSQL did not start: {self.last_words()} (whole log: {self.log_path})"
                ) from error

    def stop(self) -> bool:
        """Ends the server in order: clients are cut off, everything is written. False when it did not run."""
        return self._stop("fast")

    def kill(self) -> bool:
        """Ends the server at once, as a crash would: it recovers at its next start. False when it did not run."""
        return self._stop("immediate")

    def kill_postmaster(self) -> bool:
        """SIGKILL to the server's first process; returns when the others have ended too. False: it did not run."""
        postmaster = self.process()
        if postmaster is None:
            return False
        everyone = [postmaster, *postmaster.children(recursive=True)]
        postmaster.kill()
        _, alive = psutil.wait_procs(everyone, STOP_SECONDS)
        if alive:
            raise EngineFailed(f"{len(alive)} processes of PostgreSQL outlived it: {alive}")
        return True

    def restart(self) -> None:
        """Stops it in order, if it runs, and starts it."""
        self.stop()
        self.start()

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        try:
            self.run("pg_isready", "-q", "-t", "5", "-h", str(self.socket_directory))
        except EngineFailed:
            return False
        return True

    def last_words(self) -> str:
        """The end of its log."""
        try:
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            return "it left no log"
        return " / ".join(lines[-3:])[-1000:] if lines else "it left no log"

    def create_database(self, name: str, password_file: Path, *, template: str | None = None) -> str:
        """Makes a role and a database of its own, both called ``name``; again finds both, and the password anew.

        Args:
            name: a lower-case letter or ``_``, then such, digits and ``_``; at most 63.
            password_file: a file in libpq's format (``PGPASSFILE``), made with a random password, mode 0600, owned by
                whoever runs this; it is kept where it is there.
            template: another database of this method to copy, with all that is in it; nobody may be connected to it.

        Returns:
            The SQLAlchemy URL for ``NodeConfig.database_url``. It names the password's file, and holds no secret.

        Raises:
            EngineFailed: the server does not run, or refused.
            crypto.KeyfileError: the password's file cannot be trusted.
        """
        if not _NAME.fullmatch(name):
            raise EnginesError(f"expected a name of lower-case letters, digits and _; came {name!r}")
        password_file = password_file.absolute()
        if not password_file.exists():
            line = f"*:*:{name}:{name}:{secrets.token_urlsafe(32)}\n"
            atomic_write_private(password_file, line.encode())
        password = read_private(password_file, _PASSWORD_FILE_BYTES).decode().strip().split(":")[-1]
        role = sql.Identifier(name)
        with self.administrator() as connection:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            # Only the verifier goes to the server, so that no log of it can hold the password.
            encrypted = connection.pgconn.encrypt_password(
                password.encode(), name.encode(), b"scram-sha-256"
            ).decode()
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(encrypted)))
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                copied = (
                    sql.SQL("")
                    if template is None
                    else sql.SQL("TEMPLATE {}").format(sql.Identifier(template))
                )
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} {}").format(role, role, copied))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(role))
        if template is not None:
            with self.administrator(name) as connection:
                given = sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(template), role)
                connection.execute(given)
        return self.url(name, password_file)

    def drop_database(self, name: str) -> None:
        """Deletes a database and its role, whoever is connected to it. What is not there is no error."""
        with self.administrator() as connection:
            for statement in ("DROP DATABASE IF EXISTS {} WITH (FORCE)", "DROP ROLE IF EXISTS {}"):
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))

    def url(self, name: str, password_file: Path) -> str:
        """The URL of a database that ``create_database`` made."""
        query = {
            "host": str(self.socket_directory),
            "passfile": str(password_file),
            "require_auth": "scram-sha-256",
            # The kernel says who listens there: nobody else is spoken to.
            "requirepeer": self.user.pw_name,
        }
        return URL.create("postgresql+psycopg", username=name, database=name, query=query).render_as_string()

    @contextlib.contextmanager
    def administrator(self, database: str = "postgres") -> "Iterator[psycopg.Connection]":
        """A connection of the administrator's role, each statement a transaction.

        Raises:
            EngineFailed: the server does not answer, or refuses a statement.
        """
        try:
            with psycopg.connect(
                host=str(self.socket_directory),
                requirepeer=self.user.pw_name,
                user=ADMINISTRATOR,
                dbname=database,
                autocommit=True,
                connect_timeout=10,
            ) as connection:
                yield connection
        except psycopg.Error as error:
            raise EngineFailed(f"PostgreSQL in {self.directory} refused: {str(error).strip()}") from error

    def run(self, program: str, *arguments: str) -> str:
        """Runs one of PostgreSQL's programs as the server's user; returns what it printed.

        Raises:
            EngineFailed: it failed, with its words.
        """
        command = [str(self.binaries / program), *arguments]
        if os.geteuid() != self.user.pw_uid:
            ids = [f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups"]
            command = ["setpriv", *ids, "--no-new-privs", "--", *command]
        # A file, not a pipe: the server inherits it and would keep a pipe open for ever.
        with tempfile.TemporaryFile() as output:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                check=False,
            ).returncode
            output.seek(0)
            printed = output.read(64 * 1024).decode(errors="replace")
        if code:
            raise EngineFailed(f"{program} failed: {printed.strip()[-1000:]}")
        return printed

    def _stop(self, mode: str) -> bool:
        if self.process() is None:
            return False
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", str(STOP_SECONDS), "-m", mode, "-s", "stop")
        return True
