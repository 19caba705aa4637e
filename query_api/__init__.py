"""The query service: returns the energy that ships used, over HTTP."""
