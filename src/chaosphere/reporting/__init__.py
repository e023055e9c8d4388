"""Results for people: claims with intervals, NetCDF files, figures."""
