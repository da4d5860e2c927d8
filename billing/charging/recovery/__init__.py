"""After a database was taken back: what the gateway has and we lost is written down."""
