"""The commands ``privface anonymize`` and ``privface recover``."""
