"""Payment links that can be ended, what an account lets customers do on their page, and how often pages are asked for."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("billing", "0030_dunning_policies"),)

    operations = (
        migrations.CreateModel(
            name="VisitCount",
            fields=[
                ("key", models.TextField(primary_key=True, serialize=False)),
                ("window_at", models.DateTimeField()),
                ("count", models.IntegerField()),
            ],
        ),
        migrations.AddIndex(
            model_name="visitcount", index=models.Index(fields=["window_at"], name="visits_by_age")
        ),
        migrations.AddField(
            model_name="customer", name="link_epoch", field=models.TextField(blank=True, db_default="")
        ),
        migrations.AddField(
            model_name="gatewayaccount", name="payers_may_cancel", field=models.BooleanField(db_default=True)
        ),
        migrations.AddField(
            model_name="gatewayaccount", name="payment_link_days", field=models.IntegerField(db_default=30)
        ),
        migrations.AddConstraint(
            model_name="gatewayaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(payment_link_days__gte=1, payment_link_days__lte=365),
                name="account_payment_link_days_known",
            ),
        ),
    )
