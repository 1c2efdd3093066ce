"""Sizes of the simulator fitted to what recordings show without their labels: signals come in, a file goes out."""
