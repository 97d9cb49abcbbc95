"""What examples has for Kubernetes, as far as it can be checked without a cluster."""
