"""Operations that the methods share, each with its gradient."""
