"""The configuration groups of `unlearn`, shipped as the package `unlearn.conf`."""
