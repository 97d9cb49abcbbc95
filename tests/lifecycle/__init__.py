"""The life of a node's processes: what importing starts, stalls, containers and small machines."""
