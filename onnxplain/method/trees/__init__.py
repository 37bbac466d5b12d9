"""Exact SHAP values of trees as tables: leaves bundled, folded over a background, looked up in the graph."""
