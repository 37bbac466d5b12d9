"""The metrics, one family a file; names with an underscore are what families share."""
