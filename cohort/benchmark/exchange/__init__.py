"""What it costs students to teach each other, by every exchange."""
