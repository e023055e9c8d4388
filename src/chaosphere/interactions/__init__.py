"""Drifts that depend on the empirical measure of the tokens, and the ways of computing them."""
