"""Margin heads and losses: pure functions and small modules."""
