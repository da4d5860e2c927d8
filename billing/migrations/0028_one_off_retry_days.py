"""One-off charges have retry days of their own: accounts that there are keep theirs, new ones have none."""

import django.contrib.postgres.fields
from django.db import migrations, models
from django.db.models import F, Q

MOST_TRIES, MOST_DAYS = 4, 30
COLUMNS = ("retry_days", "one_off_retry_days")


def few_days(column: str) -> Q:
    return Q((f"{column}__len__lt", MOST_TRIES)) & Q((f"{column}__contained_by", list(range(1, MOST_DAYS + 1))))


def rising_days(column: str) -> Q:
    pairs = [
        Q((f"{column}__{after}__isnull", True)) | Q((f"{column}__{after}__gt", F(f"{column}__{after - 1}")))
        for after in (1, 2)
    ]
    return pairs[0] & pairs[1]


RULES = (("at_most_four_tries_in_thirty_days", few_days), ("each_retry_day_is_later_than_the_last", rising_days))


class Migration(migrations.Migration):
    dependencies = (("billing", "0027_waking"),)

    operations = (
        migrations.AddField(
            model_name="gatewayaccount",
            name="one_off_retry_days",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.IntegerField(), default=list, size=None
            ),
        ),
        migrations.RunSQL(
            "UPDATE billing_gatewayaccount SET one_off_retry_days = retry_days", migrations.RunSQL.noop
        ),
        *(migrations.RemoveConstraint(model_name="gatewayaccount", name=name) for name, _ in RULES),
        *(
            migrations.AddConstraint(
                model_name="gatewayaccount",
                constraint=models.CheckConstraint(condition=rule(COLUMNS[0]) & rule(COLUMNS[1]), name=name),
            )
            for name, rule in RULES
        ),
    )
