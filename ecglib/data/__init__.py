"""Records and their labels: the record store, the readers of the original sets, the simulator."""
