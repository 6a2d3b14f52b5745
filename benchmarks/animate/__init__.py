"""One's own photograph, moved by one's own video: ``python -m benchmarks.animate``."""
