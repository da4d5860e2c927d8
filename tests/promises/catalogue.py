"""The names of every promise that the database keeps, as PostgreSQL's own catalogue lists them."""

from tests.promises.attacks import run


def promises() -> set[str]:
    """Check and unique constraints, unique indexes with a condition, and triggers of the billing tables."""
    return constraints() | triggers()


def constraints() -> set[str]:
    """Without primary keys, foreign keys and NOT NULL, which are named by nobody."""
    return {
        name
        for (name,) in run(
            """SELECT conname FROM pg_constraint
               WHERE conrelid::regclass::text LIKE 'billing\\_%' AND contype NOT IN ('p', 'f', 'n')
               UNION
               SELECT indexrelid::regclass::text FROM pg_index
               WHERE indrelid::regclass::text LIKE 'billing\\_%' AND indisunique AND NOT indisprimary"""
        )
    }


def triggers() -> set[str]:
    return {
        name
        for (name,) in run(
            """SELECT tgname FROM pg_trigger
               WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'billing\\_%'"""
        )
    }
