"""The guards of the feed: one order for every reader, each event once, and nothing private in it."""

from tests.mutation.harness import Mutation, named, one

PUBLISH = "billing/notifying/publish.py"
PUBLISHING = "billing/models/bulk/publishing.py"
HISTORY = "billing/models/bulk/history.py"
HOLDING = "billing/models/bulk/holding.py"

TEST_PUBLISH = "tests/notifying/test_publish.py"
TEST_WRITERS = "tests/notifying/test_writers.py"
TEST_EVENTS = "tests/api/test_events.py"
TEST_CHANGES = "tests/subscriptions/test_changes.py"
TEST_CATALOGUE = "tests/notifying/test_catalogue.py"

MUTATIONS: list[Mutation] = [
    one("publish: one at a time in a feed", PUBLISH, "        if not publishing.lock_feed(account_id, wait=wait):\n",
        "        if False:\n", *named(TEST_PUBLISH, "left_to_them")),
    one("publish: in the order of ids", PUBLISHING, "AND sequence IS NULL ORDER BY id LIMIT %s",
        "AND sequence IS NULL ORDER BY id DESC LIMIT %s", *named(TEST_PUBLISH, "numbered_from_one")),
    one("publish: continues after what was published", PUBLISH, "    last = publishing.last_sequence(account_id)\n",
        "    last = 0\n", *named(TEST_PUBLISH, "numbered_from_one")),
    one("publish: an account that fails holds up no other", PUBLISH,
        '        with troubles.isolated(account_id, "publish", lambda: now):\n            published', "        if True:\n            published",
        *named(TEST_PUBLISH, "waits_alone")),
    one("feed: a reader sees what had committed", "billing/api/views/events.py",
        "        publish_now(self.account.pk, now=self.now)\n", "", *named(TEST_EVENTS, "committed_before")),
    one("feed: what is not published is hidden", "billing/api/access.py",
        "    return rows.exclude(HIDDEN[model]) if model in HIDDEN else rows\n", "    return rows\n",
        *named(TEST_EVENTS, "not_published")),
    one("feed: a failure to publish stops no reader", PUBLISH,
        '    with troubles.isolated(account_id, "publish", lambda: now), suppress(HeldError):\n', "    if True:\n",
        *named(TEST_EVENTS, "nothing_new")),
    one("history: what is private is not shown", HISTORY, 'name: {"changed": True} if name in PRIVATE else',
        'name: {"changed": True} if False else', *named(TEST_CHANGES, "no_address")),
    one("history: a line that changes no state is no event", "billing/domain/events.py", "    if before == after:\n",
        "    if False:\n", *named(TEST_CATALOGUE, "changes_no_state")),
    one("remind: a case is locked", HOLDING, "           FOR NO KEY UPDATE OF a SKIP LOCKED", "",
        *named(TEST_WRITERS, "reminders_hold")),
    one("remind: a proposal is locked", "billing/charging/cases/remind.py",
        '    waiting = waiting.select_for_update(of=("self",), no_key=True, skip_locked=True)\n', "",
        *named(TEST_WRITERS, "reminders_hold")),
    one("pace: an account's event is written under its lock", "billing/charging/attempts/pace.py",
        "    lock_account(account_id)\n", "", *named(TEST_WRITERS, "account_is_locked")),
]  # fmt: skip
