"""Exact SHAP values of tree ensembles as tables: leaves put together, folded over a background, and looked up in the graph."""
