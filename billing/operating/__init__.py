"""What keeps the engine running and shows how it is: shutdown, heartbeats, health."""
