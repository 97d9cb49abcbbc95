"""What a Valkey or Redis does with sessions, on real servers that the tests start."""
