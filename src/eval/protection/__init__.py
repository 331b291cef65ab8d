"""What protected templates give away: linking, revoking, inverting and guessing them (DRH specification, section 8)."""
