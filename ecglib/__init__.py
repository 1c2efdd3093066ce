"""Reproducible companion to five papers on learning from ECGs and their reports. Import its parts by name."""

import warnings

# tqdm asks for notebook widgets, which an executed notebook cannot show anyway.
warnings.filterwarnings("ignore", message="IProgress not found")
