"""How long answers are built and sent: columns, calendar, formats, negotiation."""
