"""The project's tests: unit, contracts of the stores, integration with real servers, and the whole service."""
