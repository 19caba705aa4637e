"""The page at `/`: a client of the public API that runs in a browser."""
