"""From text to a model's inputs and back: tokenizers, words and sentences, and tokens by their text."""
