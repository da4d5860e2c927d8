"""The guards of the feed: one order for every reader, each event once, and nothing private in it."""

from tests.mutation.edits import drop, drop_sql, never, swap, swap_sql
from tests.mutation.harness import Mutation, one

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
    one("publish: one at a time in a feed", PUBLISH,
        never("publish_account", "not publishing.lock_feed(account_id, wait=wait)"), TEST_PUBLISH, "left_to_them"),
    one("publish: in the order of ids", PUBLISHING,
        swap_sql("unpublished", "ORDER BY id LIMIT %s", "ORDER BY id DESC LIMIT %s"),
        TEST_PUBLISH, "numbered_from_one"),
    one("publish: continues after what was published", PUBLISH,
        swap("_places", "publishing.last_sequence(account_id)", "0"), TEST_PUBLISH, "numbered_from_one"),
    one("publish: an account that fails holds up no other", PUBLISH,
        swap("publish", "troubles.isolated(...)", "suppress()"), TEST_PUBLISH, "waits_alone"),
    one("feed: a reader sees what had committed", "billing/api/views/events.py",
        drop("EventListView.get", "publish_now(self.account.pk, now=self.now)"), TEST_EVENTS, "committed_before"),
    one("feed: what is not published is hidden", "billing/api/access.py", never("rows_of", "model in HIDDEN"),
        TEST_EVENTS, "not_published"),
    one("feed: a failure to publish stops no reader", PUBLISH, swap("publish_now",
        'with troubles.isolated(account_id, "publish", lambda: now), suppress(HeldError):', "with suppress():"),
        TEST_EVENTS, "nothing_new"),
    one("history: what is private is not shown", HISTORY, never("record_change", "name in PRIVATE"),
        TEST_CHANGES, "no_address"),
    one("history: a line that changes no state is no event", "billing/domain/events.py",
        never("kind_of_move", "before == after"), TEST_CATALOGUE, "changes_no_state"),
    one("remind: a case is locked", HOLDING, drop_sql("cases_to_remind", "FOR NO KEY UPDATE OF a SKIP LOCKED"),
        TEST_WRITERS, "reminders_hold"),
    one("remind: a proposal is locked", "billing/charging/cases/remind.py",
        drop("_proposals", "waiting = waiting.select_for_update(...)"), TEST_WRITERS, "reminders_hold"),
    one("pace: an account's event is written under its lock", "billing/charging/attempts/pace.py",
        drop("_log", "lock_account(account_id)"), TEST_WRITERS, "account_is_locked"),
]  # fmt: skip
