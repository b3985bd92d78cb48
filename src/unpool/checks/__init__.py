"""Looks at one training run before it is trained, in anybody's PyTorch objects, and says what is wrong with it."""
