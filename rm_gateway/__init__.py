"""Client library for Revenue Monster tokenization. Import from the modules; nothing is exported here."""
