"""The mean energy of infinitely many tokens by multilevel Monte Carlo, to a tolerance."""
