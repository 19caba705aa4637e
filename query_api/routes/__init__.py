"""One module per question: its route and how it is answered."""
