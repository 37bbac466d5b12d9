"""What explanations cost: forward against explained, each in a process of its own, one at a time."""
