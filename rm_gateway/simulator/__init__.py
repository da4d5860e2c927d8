"""A twin of Revenue Monster's tokenization gateway to test against: ``python -m rm_gateway.simulator``.

Same wire format as the real one, a page to bind cards, and faults on demand. See ``README.md`` beside this file.
"""
