"""Looks at any `nn.Module`: what each layer gives, what it costs, what it sees."""
