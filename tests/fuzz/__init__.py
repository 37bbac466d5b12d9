"""Seeded mutants of models, inputs, metadata and journals: whatever a file holds, one clear line or a right answer."""
