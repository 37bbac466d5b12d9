"""Is it right: finite differences, completeness, conservation, claims of a file."""
