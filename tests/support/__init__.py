"""Networks that misbehave on purpose, and a Ray for tests."""
