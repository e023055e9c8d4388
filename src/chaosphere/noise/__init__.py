"""The common noise: activations, random layers, Gaussian fields and their covariance kernels."""
