"""The agent is the process, or thread, that is a member of the cluster for its host."""
