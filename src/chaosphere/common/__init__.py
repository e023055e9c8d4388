"""What every other package uses: checks, errors, files, noise streams, Chebyshev series, the configuration."""
