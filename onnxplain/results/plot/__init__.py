"""Pictures of explanations: images, series, bars, curves, trees."""
