"""The commands behind ``privface gallery``."""
