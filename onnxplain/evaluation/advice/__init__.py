"""Which methods suit a model, read from its dataflow."""
