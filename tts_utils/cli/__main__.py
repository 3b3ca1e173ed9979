"""``python -m tts_utils.cli`` is the command ``tts``."""

from tts_utils.cli import app

app()
