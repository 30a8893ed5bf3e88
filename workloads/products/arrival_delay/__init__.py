"""How many minutes late a flight arrives, and between which bounds."""
