"""The door for the gateway: browsers that come back from its page, and notifies.

What they say is a hint, never evidence.
"""
