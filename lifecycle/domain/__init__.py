"""The words and rules of containers, without any I/O."""
