"""What a model has learned, beyond single inputs: concepts in its layers, and prototypes of its classes."""
