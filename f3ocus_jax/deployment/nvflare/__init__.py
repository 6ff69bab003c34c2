"""NVFlare as the engine: a job without code, its two applications, and their transport."""
