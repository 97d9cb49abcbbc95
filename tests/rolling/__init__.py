"""Rolling restarts: three nodes behind HAProxy, restarted in turn under constant load."""
