"""How the lab's problems, models and tables are made; ``python -m lab build`` makes them all."""
