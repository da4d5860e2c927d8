"""An index for the invoices that wait because they were refused: a card that is free again looks for them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("billing", "0026_messages_sent_again"),)

    operations = (
        migrations.AddIndex(
            model_name="invoice",
            index=models.Index(
                fields=("customer",), condition=models.Q(refusal__isnull=False), name="invoice_refused"
            ),
        ),
    )
