"""The user's entrances: rewrite, plan, Explainer."""
