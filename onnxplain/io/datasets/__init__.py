"""Data sets that are read a few samples at a time: folders, arrays, tables, archives."""
