"""Results that are written as they come, part by part, and joined at the end."""
