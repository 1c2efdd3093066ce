"""Fitting the simulator's free sizes to unlabelled signals."""
