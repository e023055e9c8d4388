"""The unit sphere: points and laws on it, quadrature, spherical harmonics and expansions in them."""
