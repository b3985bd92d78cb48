"""Follows any `nn.Module`: what its modules do, its graph of operations, and graphs written anew along it."""
