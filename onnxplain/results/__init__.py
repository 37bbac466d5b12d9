"""Explanations: the object that a method returns, its tables, figures, pages and files."""
