"""Methods that take gender out of embeddings, behind one interface."""
