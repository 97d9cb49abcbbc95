"""What the connection to a store does, on real servers and on ones that misbehave."""
