"""Whether it is right: finite differences, completeness, conservation, the claims of a file."""
