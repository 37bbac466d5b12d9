"""Files in and files out: models, samples, pictures; written whole or not at all."""
