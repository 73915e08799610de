"""The same work written anew in PyTorch, to time kdsr against; nothing here is part of kdsr."""
