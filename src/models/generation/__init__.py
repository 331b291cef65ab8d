"""Choosing synthetic people: nobody real, nobody twice, and pictures that differ but show the same person."""
