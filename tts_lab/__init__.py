"""How the lab's problems, models and tables are made; ``python -m tts_lab build`` makes them all."""
