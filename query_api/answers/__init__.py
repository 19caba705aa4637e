"""Builds and sends answers: columns, calendar, roll-ups, formats, negotiation."""
