"""Which methods suit a model: advice counted in its dataflow."""
