"""Where readings and energy are kept: the port, and one adapter per database."""
