"""What a model has learned beyond single inputs: concepts in its layers, prototypes of its classes."""
