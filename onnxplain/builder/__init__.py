"""Emits nodes: literals, shared subexpressions, loop bodies, replays."""
