"""Pure functions of tensors; each carries its equation's place in its paper."""
