"""The guards of webhooks: where a request may go, what leaves when, and who is told."""

from tests.mutation.edits import always, drop, drop_sql, never, never_sql, swap
from tests.mutation.harness import Mutation, each, one

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
        "only what is routed of IPv6": never("is_public", "ip.scope_id is not None or ip not in _ROUTED"),
        "no block of a list": never("is_public", "ip.version == block.version and ip in block"),
        "https only":
            swap("check_url", '("https", "http") if allow_private else ("https",)', '("https", "http")'),
        "no user name": never("check_url", '"@" in parts.netloc'),
    }, TEST_ADDRESSES),
    one("webhook socket: the address is checked where it connects", SOCKET,
        never("_check", "not is_public(str(address[0]))"), TEST_SENDING, "resolves_inside or bound_again"),
    one("webhook socket: the guard is used", SENDING,
        swap("_exchange", "open_unguarded if allow_private else open_guarded", "open_unguarded"),
        TEST_SENDING, "resolves_inside or bound_again"),
    one("webhook sending: no redirect is followed", SENDING,
        swap("_exchange", "allow_redirects=False", "allow_redirects=True"), TEST_SENDING, "redirect"),
    one("webhook sending: one deadline for all", SENDING,
        swap("_send", "asyncio.timeout(self._seconds)", "asyncio.timeout(15)"), TEST_SENDING, "ends_in_time"),
    one("webhook sending: a large answer is left", SENDING, drop("_beginning", "len(body) < READ_AT_MOST"),
        TEST_SENDING, "large_answer"),
    *each("webhook rules", RULES, {
        "no wait beyond the end": swap("next_try", "min(now + max(wait, asked), end)", "now + max(wait, asked)"),
        "ten tries at most": drop("next_try", "tries >= MOST_TRIES"),
        "Retry-After is honoured": swap("next_try", "max(wait, asked)", "wait"),
        "410 disables": never("must_disable", "status == 410"),
        "no secret is kept": drop("kept", '(_SECRETS, "[secret]")'),
        "no e-mail is kept": drop("kept", '(_EMAIL, "[e-mail]")'),
        "no card is kept": drop("kept", '(_DIGITS, "[digits]")'),
    }, TEST_RULES),
    *each("webhook claim", DELIVERING, {
        "in order within one object": never_sql("claim", "b.sequence < d.sequence"),
        "few of one endpoint": drop_sql("claim", "AND busy.number + one.place <= %(of_one)s"),
        "what is leased is left": drop_sql("claim", "AND (d.lease_until IS NULL OR d.lease_until <= %(now)s)"),
        "a test goes to its endpoint alone": always("_is_wanted", "event.subject_id == endpoint_id"),
    }, TEST_DELIVER, "in_order or few_leave or worker_is_gone or alone"),
    one("webhook hand out: only its kinds", DELIVERING, always("_is_wanted", "not kinds or event.kind in kinds"),
        TEST_DELIVER, "its_kinds"),
    one("webhook record: whoever holds the lease decides", RECORD,
        drop("record_try", "delivery.lease_token != claimed.token"), TEST_DELIVER, "lease_was_taken_over"),
    one("webhook sending: an old secret ends", DELIVER, drop("_letter", "now < claimed.old_secret_ends_at"),
        TEST_DELIVER, "both_secrets"),
    one("webhook secrets: none is kept for a repeated request", "billing/api/idempotency.py",
        swap("_finished", 'getattr(response, "kept", response.data)', "response.data"),
        "tests/api/test_webhooks.py", "shown_once"),
]  # fmt: skip
