"""Packing any collection of faces into shards, class folders or a record file."""
