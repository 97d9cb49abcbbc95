"""How the documentation's site and pictures are made."""
