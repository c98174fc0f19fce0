"""The whole schema: importing it makes every table known to ``metadata``."""

from node import tables, tables_custody, tables_publish

metadata = tables.metadata
PARTS = (tables, tables_custody, tables_publish)
"""The modules that define tables."""
