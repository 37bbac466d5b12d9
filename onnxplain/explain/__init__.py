"""Where users enter: rewrite, plan, Explainer."""
