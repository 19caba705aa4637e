"""The query service: answers who used how much energy, and when."""
