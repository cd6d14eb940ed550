"""The doors: `unlearn`, `unlearn-evaluate`, `unlearn-compare`."""
