"""How well faces are anonymised under a password, recovered with it, and kept from everybody else."""
