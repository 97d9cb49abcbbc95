"""The documentation's pictures, made from what the product prints and draws: ``make pictures``."""
