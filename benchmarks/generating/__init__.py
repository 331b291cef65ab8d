"""ArcBiFaceGAN in plain PyTorch, what ``benchmarks/generator_training.py`` compares with."""
