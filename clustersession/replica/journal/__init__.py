"""Keeps a node's journal on the disk: what its sessions are made anew from after a power cut."""
