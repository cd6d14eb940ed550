"""What Hydra is told and asked."""
