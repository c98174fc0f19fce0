-- A role and a database for one node, and nothing else: the role is no superuser, makes neither roles nor databases,
-- and gets into its own database only. Run once by the server's administrator, who then sets the role's password.
\set ON_ERROR_STOP on
CREATE ROLE phr_node LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
CREATE DATABASE phr_node OWNER phr_node ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE phr_node FROM PUBLIC;
-- No value of any row in the server's log: an error's DETAIL line shows keys, such as medical record numbers.
ALTER DATABASE phr_node SET log_error_verbosity = 'terse';
ALTER DATABASE phr_node SET log_min_error_statement = 'panic';
ALTER DATABASE phr_node SET log_parameter_max_length = 0;
ALTER DATABASE phr_node SET log_parameter_max_length_on_error = 0;
