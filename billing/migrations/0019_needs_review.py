"""*needs_human* becomes *needs_review*, as people call it: in rows, functions, constraints and indexes.

Code of before writes the word of before: stop the workers, migrate, start the new ones."""

import re
from importlib import import_module
from pathlib import Path

from django.db import migrations, models

OLD, NEW = "needs_human", "needs_review"
EARLIER = sorted(path.stem for path in Path(__file__).parent.glob("0*.py") if path.stem < "0019")
_FUNCTION = re.compile(r"CREATE (?:OR REPLACE )?FUNCTION (\w+)\(\).*?\$\$.*?\$\$[^;]*;", re.DOTALL)


def functions():
    """The newest text of each function that names the state, with its new name."""
    newest = {}
    for name in EARLIER:
        for operation in import_module(f"billing.migrations.{name}").Migration.operations:
            sql = getattr(operation, "sql", "")
            newest |= {found[1]: found[0] for found in _FUNCTION.finditer(sql if isinstance(sql, str) else "")}
    named = [text.replace(OLD, NEW) for text in newest.values() if OLD in text]
    return "\n".join(re.sub(r"^CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", text) for text in named)


def renamed(table, *columns):
    """What is written stays as it is but for the word, so the triggers that keep it so are off meanwhile."""
    updates = "\n".join(
        f"UPDATE billing_{table} SET {column} = replace({column}, '{OLD}', '{NEW}') WHERE {column} LIKE '%{OLD}%';"
        for column in columns
    )
    return f"""
    ALTER TABLE billing_{table} DISABLE TRIGGER USER;
    {updates}
    ALTER TABLE billing_{table} ENABLE TRIGGER USER;
    """


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0018_held_invoices'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='paymentattempt',
            name='attempt_state_known',
        ),
        migrations.RemoveConstraint(
            model_name='paymentattempt',
            name='one_attempt_holds_the_place',
        ),
        migrations.RemoveConstraint(
            model_name='paymentattempt',
            name='one_unresolved_attempt_per_card',
        ),
        migrations.RemoveConstraint(
            model_name='paymentattempt',
            name='only_a_card_behind_a_person_is_released',
        ),
        migrations.RemoveConstraint(
            model_name='refund',
            name='refund_state_known',
        ),
        migrations.RemoveConstraint(
            model_name='refund',
            name='one_open_refund_per_attempt',
        ),
        migrations.RemoveIndex(
            model_name='paymentattempt',
            name='attempt_with_a_person',
        ),
        migrations.RemoveIndex(
            model_name='refund',
            name='refund_with_a_person',
        ),
        migrations.RunSQL(functions()),
        migrations.RunSQL(
            renamed("paymentattempt", "state")
            + renamed("refund", "state")
            + renamed("transition", "from_state", "to_state")
            + renamed("event", "kind")
        ),
        migrations.RenameField(
            model_name='chargerun',
            old_name='needs_human',
            new_name='needs_review',
        ),
        migrations.AlterField(
            model_name='paymentattempt',
            name='state',
            field=models.TextField(choices=[('sending', 'sending'), ('succeeded', 'succeeded'), ('declined', 'declined'), ('not_sent', 'not sent'), ('in_process', 'in process'), ('unknown', 'unknown'), ('not_charged', 'not charged'), ('needs_review', 'needs review'), ('surplus', 'surplus'), ('reversed', 'reversed')]),
        ),
        migrations.AlterField(
            model_name='refund',
            name='state',
            field=models.TextField(choices=[('requested', 'requested'), ('sending', 'sending'), ('succeeded', 'succeeded'), ('refused', 'refused'), ('not_sent', 'not sent'), ('unknown', 'unknown'), ('not_refunded', 'not refunded'), ('needs_review', 'needs review')]),
        ),
        migrations.AddIndex(
            model_name='paymentattempt',
            index=models.Index(condition=models.Q(('state', 'needs_review')), fields=['armed_at'], name='attempt_with_a_person'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(condition=models.Q(('state', 'needs_review')), fields=['created_at'], name='refund_with_a_person'),
        ),
        migrations.AddConstraint(
            model_name='paymentattempt',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['sending', 'succeeded', 'declined', 'not_sent', 'in_process', 'unknown', 'not_charged', 'needs_review', 'surplus', 'reversed'])), name='attempt_state_known'),
        ),
        migrations.AddConstraint(
            model_name='paymentattempt',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['in_process', 'needs_review', 'sending', 'succeeded', 'unknown'])), fields=('invoice',), name='one_attempt_holds_the_place'),
        ),
        migrations.AddConstraint(
            model_name='paymentattempt',
            constraint=models.UniqueConstraint(condition=models.Q(('released_at__isnull', True), ('state__in', ['in_process', 'needs_review', 'sending', 'unknown'])), fields=('payment_method',), name='one_unresolved_attempt_per_card'),
        ),
        migrations.AddConstraint(
            model_name='paymentattempt',
            constraint=models.CheckConstraint(condition=models.Q(('released_at__isnull', True), models.Q(('state', 'needs_review'), models.Q(('released_reason', ''), _negated=True), models.Q(('released_by', ''), _negated=True)), models.Q(('state__in', ['in_process', 'needs_review', 'sending', 'unknown']), _negated=True), _connector='OR'), name='only_a_card_behind_a_person_is_released'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['requested', 'sending', 'succeeded', 'refused', 'not_sent', 'unknown', 'not_refunded', 'needs_review'])), name='refund_state_known'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['needs_review', 'requested', 'sending', 'unknown'])), fields=('attempt',), name='one_open_refund_per_attempt'),
        ),
    ]
