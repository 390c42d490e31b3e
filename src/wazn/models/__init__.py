"""The families: what a checkpoint says, its mathematics, and the program it becomes."""
