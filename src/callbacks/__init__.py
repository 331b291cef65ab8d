"""What hangs on the Trainer."""
