"""The door for the gateway: browsers that come back from its page. What they say is a hint, never evidence."""
