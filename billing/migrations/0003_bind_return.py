"""Where a browser goes after binding a card, and what it claimed when it came back."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_promises")]
    operations = [
        migrations.AddField("paymentmethod", "merchant_return_url", models.TextField(blank=True, db_default="")),
        migrations.AddField("paymentmethod", "bind_outcome", models.TextField(blank=True, db_default="")),
        migrations.AddField("paymentmethod", "bind_reason", models.TextField(blank=True, db_default="")),
        migrations.AddField("paymentmethod", "bind_outcome_at", models.DateTimeField(null=True, blank=True)),
    ]
