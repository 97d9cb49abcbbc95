"""Sessions taken over from other stores."""
