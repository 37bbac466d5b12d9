"""Files in and out: models, samples and pictures, written whole or not at all."""
