"""The guards of webhooks: where a request may go, what leaves when, and who is told."""

from tests.mutation.harness import Mutation, each, named, one

RULES = "billing/domain/webhooks.py"
ADDRESSES = "billing/domain/addresses.py"
SOCKET = "billing/notifying/guarded_socket.py"
SENDING = "billing/notifying/sending.py"
DELIVERING = "billing/models/bulk/delivering.py"
DELIVER = "billing/notifying/deliver.py"
RECORD = "billing/notifying/record_try.py"

TEST_ADDRESSES = "tests/domain/test_addresses.py"
TEST_RULES = "tests/domain/test_webhooks.py"
TEST_SENDING = "tests/notifying/test_sending.py"
TEST_DELIVER = "tests/notifying/test_deliver.py"

MUTATIONS: list[Mutation] = [
    *each("webhook address", ADDRESSES, {
        "only what is routed of IPv6": ("ip.scope_id is not None or ip not in _ROUTED", "False"),
        "no block of a list": ("    return not any(ip.version == block.version", "    return not any(False and ip.version == block.version"),
        "https only": ('    schemes = ("https", "http") if allow_private else ("https",)\n', '    schemes = ("https", "http")\n'),
        "no user name": ('    if "@" in parts.netloc:\n', "    if False:\n"),
    }, TEST_ADDRESSES),
    one("webhook socket: the address is checked where it connects", SOCKET,
        "    if not is_public(str(address[0])):\n", "    if False:\n", *named(TEST_SENDING, "resolves_inside or bound_again")),
    one("webhook socket: the guard is used", SENDING, "open_unguarded if allow_private else open_guarded", "open_unguarded",
        *named(TEST_SENDING, "resolves_inside or bound_again")),
    one("webhook sending: no redirect is followed", SENDING, "allow_redirects=False", "allow_redirects=True",
        *named(TEST_SENDING, "redirect")),
    one("webhook sending: one deadline for all", SENDING, "            async with asyncio.timeout(self._seconds):\n",
        "            async with asyncio.timeout(15):\n", *named(TEST_SENDING, "ends_in_time")),
    one("webhook sending: a large answer is left", SENDING, "    while len(body) < READ_AT_MOST and (", "    while (",
        *named(TEST_SENDING, "large_answer")),
    *each("webhook rules", RULES, {
        "no wait beyond the end": ("    return min(now + max(wait, asked), end)\n", "    return now + max(wait, asked)\n"),
        "ten tries at most": ("    if tries >= MOST_TRIES or now >= end:\n", "    if now >= end:\n"),
        "Retry-After is honoured": ("min(now + max(wait, asked), end)", "min(now + wait, end)"),
        "410 disables": ("    if status == 410:\n", "    if False:\n"),
        "no secret is kept": ('(_SECRETS, "[secret]"), ', ""),
        "no e-mail is kept": ('((_EMAIL, "[e-mail]"), ', "("),
        "no card is kept": (', (_DIGITS, "[digits]"))', ",)"),
    }, TEST_RULES),
    *each("webhook claim", DELIVERING, {
        "in order within one object": ("AND b.subject_id = d.subject_id AND b.sequence < d.sequence)",
                                       "AND b.subject_id = d.subject_id AND b.sequence < d.sequence AND false)"),
        "few of one endpoint": ("                 AND busy.number + one.place <= %(of_one)s\n", ""),
        "what is leased is left": ("AND (d.lease_until IS NULL OR d.lease_until <= %(now)s)\n", "\n"),
        "a test goes to its endpoint alone": ("        return event.subject_id == endpoint_id\n", "        return True\n"),
    }, *named(TEST_DELIVER, "in_order or few_leave or worker_is_gone or alone")),
    one("webhook hand out: only its kinds", DELIVERING, "    return not kinds or event.kind in kinds\n", "    return True\n",
        *named(TEST_DELIVER, "its_kinds")),
    one("webhook record: whoever holds the lease decides", RECORD,
        " or delivery.lease_token != claimed.token:\n", ":\n", *named(TEST_DELIVER, "lease_was_taken_over")),
    one("webhook sending: an old secret ends", DELIVER, " and now < claimed.old_secret_ends_at:\n", ":\n",
        *named(TEST_DELIVER, "both_secrets")),
    one("webhook secrets: none is kept for a repeated request", "billing/api/idempotency.py",
        '        body = getattr(response, "kept", response.data)\n', "        body = response.data\n",
        *named("tests/api/test_webhooks.py", "shown_once")),
]  # fmt: skip
