"""The transformer, its limits, and what the time loop knows of a model."""
