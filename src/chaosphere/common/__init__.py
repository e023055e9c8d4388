"""What every other package uses: checks of arguments, errors, files, noise streams, Chebyshev series, the configuration."""
