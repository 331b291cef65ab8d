"""Commands: what `train.py`, `eval.py` and `privface` run."""
