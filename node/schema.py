"""The whole schema: importing it makes every table known to ``metadata``."""

from node import tables, tables_custody, tables_publish, tables_replication

metadata = tables.metadata
PARTS = (tables, tables_custody, tables_publish, tables_replication)
"""The modules that define tables."""
