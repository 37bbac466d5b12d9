"""Methods that run the model forward on perturbed inputs, for any ONNX file, whatever its operators.

Every method says which features (or groups of them) are present in which copies of the input, and what it makes of the scores:
features → masks → perturbed batches → scores → aggregate. The way in between is the same for all (`game`).
"""
