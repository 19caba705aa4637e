"""What all services know: readings, slots, the wire format, topics, settings, errors and the stores."""
