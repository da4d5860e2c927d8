"""Gateway accounts, their secrets, API keys and stop switches."""
