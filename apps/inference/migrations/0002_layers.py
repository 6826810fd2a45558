"""Room for what is loaded over the weights (apps.inference.layers)."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inference", "0001_initial")]

    operations = [
        migrations.AlterField(
            model_name="replica",
            name="weights",
            field=models.CharField(db_index=True, help_text="See layers.key.", max_length=100),
        ),
        migrations.AlterField(
            model_name="run",
            name="weights",
            field=models.CharField(help_text="See layers.key.", max_length=100),
        ),
    ]
