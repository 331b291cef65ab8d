"""Cancellable galleries: ciphered templates and their identifiers, in two stores."""
