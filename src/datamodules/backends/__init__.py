"""Decoding backends: how a stream of rows becomes a stream of batches."""
