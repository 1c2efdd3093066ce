"""ECG encoders: (B, S, T) millivolts -> (B, L, C) token sequences."""
