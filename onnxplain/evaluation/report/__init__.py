"""What a study returns, with its tables, pictures and pages."""
