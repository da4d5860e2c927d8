"""Money that goes back: asking, arming, sending, settling."""
