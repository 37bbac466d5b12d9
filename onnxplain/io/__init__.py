"""Reading models, samples and images, and writing files atomically."""
