"""What every money request promises, charge or refund.

1. Its request is frozen and signed before it leaves, and the same bytes leave (`request`).
2. Only a commit that is on disk, acknowledged and attested permits to send it (`permission`).
3. It is sent once, from the process that froze it, by a thread that never touches the database (`senders`).
4. What came of it is evidence, recorded once; only evidence changes its state (`evidence`).
5. An answer that fits nothing is kept (`orphans`).
"""
