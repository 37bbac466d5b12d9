"""Layer-wise relevance propagation: rules by operator and by role, and their composites."""
