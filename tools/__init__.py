"""What makes the documentation's site and pictures; no part of the package."""
