"""Experiments: one module per question that a user asks."""
