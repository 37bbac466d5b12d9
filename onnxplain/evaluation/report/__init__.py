"""What a study returns, and its tables, pictures and pages."""
