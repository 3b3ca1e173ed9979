"""How fast the package is, each part beside a baseline in the same run."""
