"""What is known in closed form or by one-dimensional equations, and couplings of networks with their limits."""
